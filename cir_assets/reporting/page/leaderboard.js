"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  chartsAndColours(data, 9);

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
    filters.querySelector("output").textContent = `${shown.toLocaleString("en")} evaluation${shown === 1 ? "" : "s"}`;
    document.getElementById("no-rows").hidden = shown > 0;
  };
  /* The address says what is shown, so that it can be sent to somebody. */
  const follow = () => {
    const said = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    filters.reset();
    for (const field of ["board", "words"]) if (said.has(field)) filters.elements[field].value = said.get(field);
    if (filters.elements.board.selectedIndex < 0) filters.elements.board.selectedIndex = 0;
    filter();
  };
  filters.addEventListener("input", () => {
    filter();
    const said = new URLSearchParams({ board: filters.elements.board.value });
    if (filters.elements.words.value) said.set("words", filters.elements.words.value);
    history.replaceState(null, "", `#${said}`);
  });
  document.querySelector("#no-rows button").addEventListener("click", () => {
    filters.elements.words.value = "";
    filters.dispatchEvent(new Event("input"));
    filters.elements.words.focus();
  });
  addEventListener("hashchange", follow);
  follow();

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
