"use strict";
/* Charts: one cursor and one span for all; pictures give way to them on screens. */
(() => {
  const root = document.documentElement;
  const source = document.getElementById("run-data");
  const run = JSON.parse(source.textContent);
  const seconds = run.days.map(day => day * 86400);
  const bands = run.bands.map(([first, last, title]) => [first * 86400, (last + 1) * 86400, title]);
  const crisisAt = seconds.map(second =>
    bands.filter(band => band[0] <= second && second < band[1]).map(band => band[2]).join(", "));
  const minus = text => text.replace("-", "\u2212");
  const formats = {
    percent: value => minus((value * 100).toFixed(1)) + "%",
    factor: value => value.toFixed(3),
    number: value => value.toFixed(3),
    whole: value => value.toFixed(0),
  };
  const ticks = {
    percent: value => minus(String(Number((value * 100).toFixed(3)))) + "%",
    factor: value => String(Number(value.toPrecision(6))),
    number: value => value.toFixed(2),
    whole: value => Number.isInteger(value) ? String(value) : "",
  };
  const DAY = 86400, YEAR = 365.25 * DAY;
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

  /* Names of crises over the plot, in rows; one that finds no room is told by the cursor. */
  const ROW = 13, ROWS = 3;
  function names(plot) {
    const { ctx, bbox } = plot, scale = devicePixelRatio, ends = Array(ROWS).fill(-Infinity);
    ctx.save();
    ctx.font = `${11 * scale}px system-ui, sans-serif`;
    ctx.fillStyle = ink("soft");
    ctx.textAlign = "center";
    for (const [first, last, title] of bands) {
      if (last < plot.scales.x.min || first > plot.scales.x.max) continue;
      const half = ctx.measureText(title).width / 2;
      const middle = (plot.valToPos(Math.max(first, plot.scales.x.min), "x", true)
        + plot.valToPos(Math.min(last, plot.scales.x.max), "x", true)) / 2;
      const at = Math.min(Math.max(middle, bbox.left + half), bbox.left + bbox.width - half);
      const row = ends.findIndex(end => end < at - half);
      if (row < 0) continue;
      ends[row] = at + half + 8 * scale;
      ctx.fillText(title, at, bbox.top - (4 + row * ROW) * scale);
    }
    ctx.restore();
  }

  /* A log axis fits its values and is marked 1, 2, 5, or evenly where they are close. */
  const fitted = (_, low, high) => {
    if (!(low > 0)) return [0.5, 2];
    const room = Math.max((high / low) ** 0.05, 1.002);
    return [low / room, high * room];
  };
  function marks(_, __, low, high) {
    const found = [];
    if (high / low > 3) {
      const digits = high / low > 30 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
      for (let ten = 10 ** Math.floor(Math.log10(low)); ten <= high; ten *= 10) {
        for (const digit of digits) found.push(ten * digit);
      }
    } else {
      const rough = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(rough));
      const step = ten * ([1, 2, 5].find(digit => ten * digit >= rough) || 10);
      for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(at);
    }
    return found.filter(mark => low <= mark && mark <= high);
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

  /* Years, months, or days with the year below where it begins; in the order of ISO 8601. */
  const dates = (_, splits, __, ___, apart) => splits.map((second, at) => {
    const [day, before] = [second, splits[at - 1] ?? -Infinity].map(one =>
      Number.isFinite(one) ? new Date(one * 1000).toISOString() : "");
    if (apart >= 28 * DAY) return day.slice(0, apart >= 364 * DAY ? 4 : 7);
    const year = day.slice(0, 4);
    return day.slice(5, 10) + (before.startsWith(year) ? "" : "\n" + year);
  });

  function options(chart, width, series) {
    const soft = ink("soft"), grid = { stroke: ink("line"), width: 1 };
    const axis = { stroke: soft, grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const isWide = width > 700;
    const across = { ...axis, size: 48, space: 72, values: dates };
    const upright = { ...axis, size: chart.classes && isWide ? 150 : 58 };
    if (chart.format === "whole") Object.assign(upright, { incrs: [1, 2, 5, 10, 20, 50], space: 15 });
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
    const isNamed = chart.name === "growth";
    if (chart.is_log) Object.assign(upright, { splits: marks, filter: (_, splits) => splits });
    return {
      width, height: chart.height,
      ...(isNamed ? { padding: [ROWS * ROW + 6, null, null, null] } : {}),
      tzDate: second => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
      cursor: { sync: { key: "run" }, y: false },
      scales: { y: { ...(chart.is_log ? { distr: 3, range: fitted } : {}), ...(range ? { range: () => range } : {}) } },
      axes: [across, upright],
      series: [{ label: "Session", value: "{YYYY}-{MM}-{DD}" }, ...series,
        { label: "Crisis", value: (_, __, ___, index) => (index !== null && crisisAt[index]) || "\u2013" }],
      hooks: { drawClear: [shade], draw: isNamed ? [names] : [], setScale: [follow] },
    };
  }

  function draw(place, chart) {
    const { series, columns } = lines(chart);
    const nothing = seconds.map(() => null);
    const width = Math.floor(place.clientWidth);
    place.replaceChildren();
    return new uPlot(options(chart, width, series), [seconds, ...columns, nothing], place);
  }

  /* The span that all charts show, whichever of them was enlarged. */
  const drawn = new Map(), whole = [seconds[0], seconds[seconds.length - 1]];
  const choice = document.createElement("select");
  const around = ([first, last]) =>
    [Math.max(first - 90 * DAY, whole[0]), Math.min(last + 90 * DAY, whole[1])];
  let span = whole, isFollowing = false;
  function zoom(first, last) {
    span = [Math.max(first, whole[0]), Math.min(last, whole[1])];
    isFollowing = true;
    for (const plot of drawn.values()) plot.setScale("x", { min: span[0], max: span[1] });
    isFollowing = false;
    for (const button of buttons) {
      const [from, to] = button.span();
      button.node.setAttribute("aria-pressed", from === span[0] && to === span[1]);
    }
    const shown = bands.findIndex(band => around(band).every((end, at) => end === span[at]));
    choice.value = shown < 0 ? "" : shown;
  }
  function follow(plot, scale) {
    if (scale !== "x" || isFollowing || !drawn.size) return;
    const { min, max } = plot.scales.x;
    if (min !== span[0] || max !== span[1]) queueMicrotask(() => zoom(min, max));
  }

  const buttons = [["All", null], ["10 years", 10], ["5 years", 5], ["3 years", 3], ["1 year", 1]]
    .filter(([, years]) => years === null || whole[1] - whole[0] > years * YEAR)
    .map(([words, years]) => {
      const node = document.createElement("button");
      node.type = "button";
      node.textContent = words;
      const back = () => years === null ? whole : [whole[1] - years * YEAR, whole[1]];
      node.addEventListener("click", () => zoom(...back()));
      return { node, span: back };
    });
  const ranges = document.querySelector(".ranges");
  ranges.append(...buttons.map(button => button.node));
  if (bands.length) {
    choice.setAttribute("aria-label", "Show one crisis");
    choice.append(new Option("Choose a crisis\u2026", ""), ...bands.map(([, , title], at) => new Option(title, at)));
    choice.addEventListener("change", () => {
      const band = bands[choice.value];
      zoom(...(band ? around(band) : whole));
    });
    ranges.append(choice);
  }

  function drawAll() {
    for (const plot of drawn.values()) plot.destroy();
    drawn.clear();
    for (const chart of run.charts) {
      const place = document.getElementById(`chart-${chart.name}`);
      place.closest("figure").classList.add("is-live");
      drawn.set(place, draw(place, chart));
    }
    zoom(...span);
  }
  /* Arrow keys move the cursor of all charts from session to session. */
  for (const chart of run.charts) {
    const place = document.getElementById(`chart-${chart.name}`);
    place.addEventListener("keydown", event => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -21, PageDown: 21 }[event.key];
      const plot = drawn.get(place);
      if (!step || !plot) return;
      event.preventDefault();
      const at = plot.cursor.idx ?? plot.valToIdx(span[0]);
      const index = Math.min(Math.max(at + step, 0), seconds.length - 1);
      plot.setCursor({ left: plot.valToPos(seconds[index], "x"), top: 10 }, true, true);
    });
  }
  drawAll();
  addEventListener("recolour", drawAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) { width = innerWidth; drawAll(); }
  });
})();
