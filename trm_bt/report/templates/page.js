"use strict";
/* Sorting and charts. Without this script the page shows the same tables and pictures. */
(() => {
  const root = document.documentElement;

  /* Tables: a button in each sortable head; rows without a value stay at the end. */
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.querySelectorAll("th[data-key]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head));
    }
  }

  function sort(table, head) {
    const isDown = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    const key = row => {
      const cell = row.querySelector(`[data-${head.dataset.key}]`);
      if (!cell) return null;
      const text = cell.getAttribute(`data-${head.dataset.key}`);
      return head.dataset.kind === "text" ? text : text === "" ? null : Number(text);
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].map(row => [key(row), row]);
    rows.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      const order = typeof one === "string" ? one.localeCompare(other) : one - other;
      return isDown ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }

  /* Charts: one cursor and one time axis for all; pictures give way to them on screens. */
  const source = document.getElementById("run-data");
  if (!source || typeof uPlot === "undefined") return;
  const run = JSON.parse(source.textContent);
  const seconds = run.days.map(day => day * 86400);
  const bands = run.bands.map(([first, last, title]) => [first * 86400, (last + 1) * 86400, title]);
  const crisisAt = seconds.map(second =>
    bands.filter(band => band[0] <= second && second < band[1]).map(band => band[2]).join(", "));
  const minus = text => text.replace("-", "\u2212");
  const formats = {
    percent: value => minus((value * 100).toFixed(1)) + "\u00a0%",
    factor: value => value.toFixed(3),
    number: value => value.toFixed(3),
    whole: value => value.toFixed(0),
  };
  const ticks = {
    percent: value => minus(String(Number((value * 100).toFixed(3)))) + "\u00a0%",
    factor: value => String(value),
    number: value => value.toFixed(2),
    whole: value => Number.isInteger(value) ? String(value) : "",
  };
  const ink = name => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const faint = colour => `${colour}cc`;

  function shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = ink("crisis");
    for (const [first, last] of bands) {
      const left = plot.valToPos(first, "x", true), right = plot.valToPos(last, "x", true);
      ctx.fillRect(left, bbox.top, Math.max(right - left, devicePixelRatio), bbox.height);
    }
    ctx.restore();
  }

  function lines(chart) {
    const columns = chart.series.map(one => one.values);
    const format = chart.classes ? value => chart.classes[value] : formats[chart.format];
    const textAt = at => (plot, _, __, index) => {
      const value = index === null ? null : columns[at][index];
      return value === null || value === undefined ? "\u2013" : format(value);
    };
    const isDots = chart.classes || chart.format === "whole";
    const series = chart.series.map((one, at) => ({
      label: one.label, value: textAt(at), stroke: ink(one.ink), width: 1.5,
      ...(chart.is_stacked ? { fill: faint(ink(one.ink)), width: 0 } : {}),
      ...(isDots ? { paths: () => null, points: { show: true, size: 3, width: 0, fill: ink(one.ink) } } : { points: { show: false } }),
    }));
    if (!chart.is_stacked) return { series, columns };
    /* The first series lies lowest, so the sums are drawn from the highest down. */
    const sums = columns.map((_, at) => columns[at].map((value, index) =>
      value === null ? null : columns.slice(0, at + 1).reduce((sum, one) => sum + one[index], 0)));
    return { series: series.reverse(), columns: sums.reverse() };
  }

  function options(chart, width, series) {
    const soft = ink("soft"), grid = { stroke: ink("line"), width: 1 };
    const axis = { stroke: soft, grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const isWide = width > 700;
    const across = { ...axis, size: 32 };
    const upright = { ...axis, size: chart.classes && isWide ? 150 : 58 };
    if (chart.format === "whole") upright.incrs = [1, 2, 5, 10, 20, 50];
    if (chart.classes) {
      upright.splits = () => chart.classes.map((_, at) => at);
      upright.values = () => chart.classes.map((name, at) => isWide ? name : String(at));
    } else {
      upright.values = (_, values) => values.map(value => value === null ? "" : ticks[chart.format](value));
    }
    const ranges = {
      weights: [0, 1], confidence: [0, 1],
      allocation: chart.classes && [-0.5, chart.classes.length - 0.5],
    };
    const range = ranges[chart.name];
    return {
      width, height: chart.height,
      tzDate: second => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
      cursor: { sync: { key: "run" }, y: false },
      scales: { y: { ...(chart.is_log ? { distr: 3 } : {}), ...(range ? { range: () => range } : {}) } },
      axes: [across, upright],
      series: [{ label: "Session", value: "{YYYY}-{MM}-{DD}" }, ...series,
        { label: "Crisis", value: (_, __, ___, index) => (index !== null && crisisAt[index]) || "\u2013" }],
      hooks: { drawClear: [shade] },
    };
  }

  function draw(place, chart) {
    const { series, columns } = lines(chart);
    const nothing = seconds.map(() => null);
    const width = Math.floor(place.clientWidth);
    place.replaceChildren();
    return new uPlot(options(chart, width, series), [seconds, ...columns, nothing], place);
  }

  const drawn = new Map();
  function drawAll() {
    for (const plot of drawn.values()) plot.destroy();
    for (const chart of run.charts) {
      const place = document.getElementById(`chart-${chart.name}`);
      place.closest("figure").classList.add("is-live");
      drawn.set(place, draw(place, chart));
    }
  }
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) { width = innerWidth; drawAll(); }
  });
})();
