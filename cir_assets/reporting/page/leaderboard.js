"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const system = matchMedia("(prefers-color-scheme: dark)");
  const inTheme = (value) => {
    if (typeof value === "string") return system.matches && value in data.dark ? data.dark[value] : value;
    if (Array.isArray(value)) return value.map(inTheme);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inTheme(each)]));
    return value;
  };
  const draw = () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      if (place.closest("[hidden]")) continue;
      const chart = inTheme(data.charts[place.dataset.chart]);
      if (innerWidth < 560) chart.layout.font.size = 9;
      Plotly.react(place, chart.data, chart.layout, { responsive: true, displayModeBar: false });
    }
  };
  system.addEventListener("change", draw);

  /* Which board, and which of its rows. */
  const filters = document.getElementById("filters");
  if (!filters) return;
  const filter = () => {
    const words = filters.elements.words.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const board of document.querySelectorAll(".board")) {
      board.hidden = filters.elements.board.value !== "" && board.dataset.board !== filters.elements.board.value;
      for (const row of board.querySelectorAll("tbody tr")) {
        const said = row.textContent.toLocaleLowerCase();
        row.hidden = !words.every((word) => said.includes(word));
        shown += !row.hidden && !board.hidden ? 1 : 0;
      }
    }
    filters.querySelector("output").textContent = `${shown.toLocaleString("en")} evaluations`;
    draw();
  };
  filters.addEventListener("input", filter);
  filter();

  /* A click on a column's head orders by it; a second click turns the order round. */
  for (const sorter of document.querySelectorAll(".sorter")) {
    sorter.addEventListener("click", () => {
      const head = sorter.closest("th");
      const column = [...head.parentElement.children].indexOf(head);
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = head.closest("table").tBodies[0];
      const value = (row) => {
        const cell = row.children[column];
        return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
      };
      const rows = [...body.rows].sort((a, b) => {
        const [left, right] = [value(a), value(b)];
        const order = typeof left === "number" ? left - right : String(left).localeCompare(String(right));
        return down ? -order : order;
      });
      body.append(...rows);
    });
  }
})();
