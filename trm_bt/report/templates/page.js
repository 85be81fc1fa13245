"use strict";
/* Colours, sorting and scrolling. Without this script the page shows the same. */
(() => {
  const root = document.documentElement;

  /* Light or dark: as the system says, until the reader says otherwise. */
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const memory = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: theme => { try { localStorage.setItem("theme", theme); } catch { /* a page without storage */ } } };
  const lamp = document.getElementById("lamp");
  const name = () => { lamp.textContent = isDark() ? "Light colours" : "Dark colours"; };
  const given = memory.get();
  if (given === "light" || given === "dark") root.dataset.theme = given;
  lamp.hidden = false;
  lamp.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    memory.set(root.dataset.theme);
    name();
    dispatchEvent(new Event("recolour"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    name();
    dispatchEvent(new Event("recolour"));
  });
  name();

  /* What scrolls sideways can be reached and scrolled by the keyboard. */
  function reach() {
    for (const box of document.querySelectorAll(".wide, .card, pre")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }
  reach();
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);

  /* On paper everything is open. */
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not(.card)")) part.open = true;
  });

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
})();
