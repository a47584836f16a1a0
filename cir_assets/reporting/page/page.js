"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  /* Pictures: each is in the file once and may be shown in several places. */
  for (const image of document.querySelectorAll("img[data-picture]")) {
    image.src = data.pictures[Number(image.dataset.picture)];
  }

  chartsAndColours(data, 11);

  /* Tabs, by mouse and by arrow keys. */
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const open = (chosen) => {
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
    }
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = tabs[(to + tabs.length) % tabs.length];
      next.focus();
      open(next);
    });
  });
  if (tabs.length) open(tabs[0]);

  /* The address says which query is open and what is filtered, so that it can be sent to somebody. */
  const address = {
    read: () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""),
    write: (changes) => {
      const said = address.read();
      for (const [name, value] of Object.entries(changes)) if (value) said.set(name, value); else said.delete(name);
      history.replaceState(null, "", said.size ? `#${said}` : location.pathname + location.search);
    },
  };
  /* Puts what the address says into a form's fields; says whether it was anything. */
  const takeFrom = (form, names) => {
    const said = address.read();
    form.reset();
    let any = false;
    for (const [field, name] of Object.entries(names)) {
      if (!form.elements[field] || !said.has(name)) continue;
      form.elements[field].value = said.get(name);
      any = true;
    }
    return any;
  };
  const toldBy = (form, names) => Object.fromEntries(Object.entries(names).filter(([field]) => form.elements[field])
    .map(([field, name]) => [name, form.elements[field].value === form.elements[field].options?.[0].value ? "" : form.elements[field].value]));
  const clearedBy = (notice, form) => document.querySelector(`#${notice} button`).addEventListener("click", () => {
    form.reset();
    form.dispatchEvent(new Event("input", { bubbles: true }));
    form.querySelector("select, input").focus();
  });

  const wordsOf = (text) => text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const holds = (caption, words) => words.every((word) => caption.includes(word));
  const counted = (count, of) => (count === of ? `${of.toLocaleString("en")} queries` : `${count.toLocaleString("en")} of ${of.toLocaleString("en")} queries`);

  /* Sheets: filtered in place. */
  const filters = document.getElementById("filters");
  if (filters) {
    const sheets = [...document.querySelectorAll(".sheet")];
    const filter = () => {
      const band = filters.elements.band.value;
      const category = filters.elements.category?.value ?? "";
      const words = wordsOf(filters.elements.words.value);
      let shown = 0;
      for (const sheet of sheets) {
        const of = sheet.closest(".band").dataset.band;
        sheet.hidden = !((!band || of === band) && (!category || sheet.dataset.category === category)
          && holds(sheet.dataset.words.toLocaleLowerCase(), words));
        shown += sheet.hidden ? 0 : 1;
      }
      for (const each of document.querySelectorAll(".band")) each.hidden = !each.querySelector(".sheet:not([hidden])");
      document.getElementById("filtered").textContent = counted(shown, sheets.length);
      document.getElementById("no-sheets").hidden = shown > 0;
    };
    const names = { band: "band", category: "sheet-category", words: "sheet-words" };
    filters.addEventListener("input", () => { filter(); address.write(toldBy(filters, names)); });
    clearedBy("no-sheets", filters);
    const follow = () => {
      const any = takeFrom(filters, names);
      filter();
      if (any) document.getElementById("sheets").scrollIntoView();
    };
    addEventListener("hashchange", follow);
    follow();
  }

  /* The list of all queries: searched and ordered here, a page at a time. Text only, never markup. */
  const list = document.getElementById("list");
  const { methods, rows, total, shown, plain } = data.queries;
  if (!rows.length) {
    const none = document.createElement("p");
    none.className = "notice";
    none.textContent = "There is no query to list.";
    list.replaceChildren(none);
    return;
  }
  const search = document.getElementById("search");
  const LENGTH = 25;
  let page = 0;
  let shownPlaces = [];
  const made = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const category = search.elements.category;
  for (const name of [...new Set(rows.map((row) => row[1]))].sort()) category.add(new Option(name, name));
  if (category.options.length < 3) category.closest("label").hidden = true;
  if (plain < 0) for (const value of ["gained", "lost"]) search.elements.order.querySelector(`[value=${value}]`).remove();
  /* The method that is shown stands second, where a narrow screen still has it. */
  const columns = [shown, ...[...methods.keys()].filter((place) => place !== shown)];
  let sorted = null;
  const head = (text, column, rows) => {
    const cell = made("th", undefined, column === "query" ? "" : "number");
    const sorter = made("button", text, "sorter");
    sorter.type = "button";
    sorter.addEventListener("click", () => {
      sorted = { column, down: sorted?.column === column && !sorted.down };
      search.elements.order.value = "column";
      changed();
    });
    cell.append(sorter);
    cell.scope = "col";
    cell.rowSpan = rows;
    cell.dataset.column = column;
    return cell;
  };
  const over = made("th", "Rank of the target by", "over");
  over.colSpan = methods.length;
  over.scope = "colgroup";
  const lines = [made("tr"), made("tr")];
  lines[0].append(head("Query", "query", 2), over, head("λ", "weight", 2));
  lines[1].append(...columns.map((place) => head(methods[place], String(place), 1)));
  list.querySelector("thead").append(...lines);
  const sheetOf = new Map([...document.querySelectorAll(".sheet")].map((sheet) => [sheet.dataset.query, sheet.id]));
  const captions = rows.map((row) => row[2].toLocaleLowerCase());
  const valueOf = { query: (row) => row[0], weight: (row) => row[3] };
  const byColumn = (a, b) => {
    const of = valueOf[sorted.column] ?? ((row) => row[4][Number(sorted.column)]);
    const [left, right] = [of(rows[a]), of(rows[b])];
    /* What is not known stands last either way. */
    if (left === null || right === null) return (left === null) - (right === null) || a - b;
    const found = typeof left === "string" ? left.localeCompare(right, "en", { numeric: true }) : left - right;
    return (sorted.down ? -found : found) || a - b;
  };
  const order = {
    column: (a, b) => (sorted ? byColumn(a, b) : a - b),
    best: (a, b) => a - b,
    worst: (a, b) => b - a,
    gained: (a, b) => gain(b) - gain(a) || a - b,
    lost: (a, b) => gain(a) - gain(b) || a - b,
  };
  /* Places gained count in proportion: from 100 to 10 is as much as from 10 to 1. */
  const gain = (place) => Math.log((rows[place][4][plain] ?? 1) / rows[place][4][shown]);
  const refresh = () => {
    const form = search.elements;
    const words = wordsOf(form.words.value);
    const low = Number(form.low.value) || 1;
    const high = Number(form.high.value) || Infinity;
    const found = [];
    rows.forEach((row, place) => {
      const rank = row[4][shown];
      if (rank >= low && rank <= high && (!form.category.value || row[1] === form.category.value)
        && holds(captions[place], words)) found.push(place);
    });
    found.sort(order[form.order.value]);
    shownPlaces = found;
    const last = Math.max(0, Math.ceil(found.length / LENGTH) - 1);
    page = Math.min(page, last);
    list.querySelector("tbody").replaceChildren(...found.slice(page * LENGTH, (page + 1) * LENGTH).map((place) => {
      const [query, group, caption, weight, ranks] = rows[place];
      const line = made("tr");
      const first = made("td");
      const said = made("span", caption, "said-short");
      said.title = caption;
      first.append(said);
      const under = made("small", `${group} · ${query}`);
      if (sheetOf.has(query)) {
        const link = made("a", "in pictures");
        link.href = `#${sheetOf.get(query)}`;
        link.addEventListener("click", () => { filters.reset(); filters.dispatchEvent(new Event("input")); });
        under.append(" · ", link);
      }
      if (data.opened) {
        const opener = made("button", "open", "opener");
        opener.type = "button";
        opener.setAttribute("aria-label", `Open the query ${query} in pictures`);
        opener.addEventListener("click", () => openQuery(found.indexOf(place), found));
        under.append(" · ", opener);
      }
      first.append(under);
      line.append(first);
      for (const rank of columns.map((column) => ranks[column])) {
        line.append(made("td", rank === null ? "–" : rank.toLocaleString("en"), rank !== null && rank <= 10 ? "number hit" : "number"));
      }
      line.append(made("td", weight === null ? "–" : weight.toFixed(2), "number"));
      return line;
    }));
    for (const cell of list.querySelectorAll("thead [data-column]")) {
      const on = form.order.value === "column" && sorted?.column === cell.dataset.column;
      if (on) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending"); else cell.removeAttribute("aria-sort");
    }
    document.getElementById("no-queries").hidden = found.length > 0;
    for (const part of list.querySelectorAll(".scroll, .pages")) part.hidden = !found.length;
    const less = rows.length < total ? ` (the first ${rows.length.toLocaleString("en")} of ${total.toLocaleString("en")})` : "";
    search.querySelector("output").textContent = counted(found.length, rows.length) + less;
    list.querySelector(".pages span").textContent = `page ${page + 1} of ${last + 1}`;
    list.querySelector("[data-step='-1']").disabled = page === 0;
    list.querySelector("[data-step='1']").disabled = page === last;
  };
  /* One query opened: the first pictures by two methods, read from the files beside this page. */
  const dialog = document.getElementById("opened");
  const pictureOf = (number, said, className) => {
    const image = made("img", undefined, className);
    image.alt = number < 0 ? `${said}, cannot be shown` : `${said}: ${data.opened.names[number]}`;
    image.title = number < 0 ? "" : data.opened.names[number];
    if (number >= 0) image.src = `${data.opened.folder}/${data.opened.files[number]}`;
    return image;
  };
  /* Two methods side by side, each picked from a list: the chosen ones stay from query to query. */
  const sides = [...dialog.querySelectorAll(".side")];
  const showSide = (side, place) => {
    const row = Number(side.querySelector("select").value);
    const rank = rows[place][4][row];
    const said = side.querySelector("output");
    said.textContent = `rank of the target: ${rank === null ? "not known" : rank.toLocaleString("en")}`;
    said.classList.toggle("hit", rank !== null && rank <= 10);
    const target = data.opened.targets[place];
    side.querySelector(".strip").replaceChildren(...data.opened.strips[row][place].map((number, before) => {
      const item = made("li", undefined, number === target && number >= 0 ? "target" : "");
      item.append(pictureOf(number, `Rank ${before + 1}`, "picture"), made("span", String(before + 1), "rank"));
      return item;
    }));
  };
  sides.forEach((side, number) => {
    const select = side.querySelector("select");
    methods.forEach((method, row) => select.add(new Option(method, String(row))));
    if (data.opened) select.value = String(data.opened.sides[number]);
    select.addEventListener("change", () => showSide(side, openedAmong[openedAt]));
  });
  let openedAt = 0;
  let openedAmong = [];
  const openQuery = (at, among) => {
    openedAt = Math.max(0, Math.min(among.length - 1, at));
    openedAmong = among;
    const place = among[openedAt];
    const [query, group, caption, weight, ranks] = rows[place];
    const { references, targets } = data.opened;
    for (const [id, number, said] of [["reference", references[place], "Reference"], ["target", targets[place], "Target"]]) {
      const fresh = pictureOf(number, said, "picture large");
      fresh.id = `opened-${id}`;
      document.getElementById(fresh.id).replaceWith(fresh);
    }
    document.getElementById("opened-caption").textContent = caption;
    const own = made("a", query);
    own.href = `#${new URLSearchParams({ query })}`;
    document.getElementById("opened-query").replaceChildren(`${group} · `, own, weight === null ? "" : ` · λ ${weight.toFixed(2)}`);
    address.write({ query });
    for (const side of sides) showSide(side, place);
    const [back, on] = dialog.querySelectorAll("[data-step]");
    back.disabled = openedAt === 0;
    on.disabled = openedAt === among.length - 1;
    if (!dialog.open) dialog.showModal();
  };
  for (const step of dialog.querySelectorAll("[data-step]")) {
    step.addEventListener("click", () => openQuery(openedAt + Number(step.dataset.step), openedAmong));
  }
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    /* In a list of methods the arrows pick a method. */
    if (step && event.target.tagName !== "SELECT") openQuery(openedAt + step, openedAmong);
  });
  const names = { category: "category", low: "low", high: "high", order: "order", words: "words" };
  const changed = () => {
    page = 0;
    const by = search.elements.order.value === "column" && sorted;
    refresh();
    address.write({ ...toldBy(search, names), sort: by ? `${sorted.down ? "-" : ""}${sorted.column}` : "" });
  };
  search.addEventListener("input", changed);
  clearedBy("no-queries", search);
  dialog.addEventListener("close", () => address.write({ query: "" }));
  for (const step of list.querySelectorAll("[data-step]")) {
    step.addEventListener("click", () => { page += Number(step.dataset.step); refresh(); });
  }
  const follow = () => {
    const said = address.read();
    const sort = said.get("sort");
    sorted = sort ? { column: sort.replace(/^-/, ""), down: sort.startsWith("-") } : null;
    if (takeFrom(search, names)) document.getElementById("queries").scrollIntoView();
    page = 0;
    refresh();
    const place = rows.findIndex((row) => row[0] === said.get("query"));
    if (place >= 0 && data.opened) openQuery(Math.max(0, shownPlaces.indexOf(place)), shownPlaces.includes(place) ? shownPlaces : [place]);
  };
  addEventListener("hashchange", follow);
  follow();
})();
