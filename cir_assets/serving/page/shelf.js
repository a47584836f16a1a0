// What stays in this browser: searches made, and favourites, which leave it as a contact sheet or CSV.
const $ = (id) => document.getElementById(id);
const KEPT = 50;
const SIDE = 200, GAP = 16, LINE = 24, COLUMNS = 5;

export function pictureUrl(dataset, image, side) {
  // Relative, as every address here, so that the page works below any path; some proxies refuse an encoded slash.
  return `pictures/${encodeURIComponent(dataset)}/${image.split("/").map(encodeURIComponent).join("/")}?side=${side}`;
}

function stored(name) {
  try {
    const list = JSON.parse(localStorage.getItem(`cir_assets.${name}`) || "[]");
    return Array.isArray(list) ? list : [];
  } catch { return []; /* another page's, or a browser that keeps nothing */ }
}

function store(name, list) {
  try { localStorage.setItem(`cir_assets.${name}`, JSON.stringify(list)); } catch { /* full, or a browser that keeps nothing */ }
}

export function remember(search) {
  store("history", [search, ...stored("history").filter((each) => each.address !== search.address)].slice(0, KEPT));
}

export const isKept = (dataset, image) => stored("favourites").some((each) => each.dataset === dataset && each.image === image);

export function toggleKept(dataset, picture) {
  const others = stored("favourites").filter((each) => each.dataset !== dataset || each.image !== picture.image);
  const kept = isKept(dataset, picture.image);
  if (!kept) others.push({ dataset, image: picture.image, category: picture.category || "", path: picture.path || "" });
  store("favourites", others);
  count();
  return !kept;
}

export function count() {
  const many = stored("favourites").length;
  $("favourites-count").textContent = many ? `(${many})` : "";
}

function opened(title, said, list, drawn) {
  $("shelf-name").textContent = title;
  $("shelf-said").textContent = said;
  $("shelf-list").replaceChildren(...list.map((each) => { const item = document.createElement("li"); item.append(...drawn(each)); return item; }));
  $("shelf").scrollTop = 0;
  if (!$("shelf").open) $("shelf").showModal();
}

function thumbnail(dataset, image) {
  const shown = document.createElement("img");
  shown.src = pictureUrl(dataset, image, 96);
  shown.alt = "";
  shown.loading = "lazy";
  return shown;
}

export function openHistory(go) {
  const list = stored("history");
  for (const id of ["shelf-sheet", "shelf-csv"]) $(id).hidden = true;
  $("shelf-empty").hidden = !list.length;
  $("shelf-empty").onclick = () => { store("history", []); openHistory(go); };
  opened("History", list.length ? "Your last searches, kept in this browser alone." : "What you search for will stand here, kept in this browser alone.", list, (each) => {
    const again = document.createElement("button");
    again.type = "button";
    if (each.reference) again.append(thumbnail(each.dataset, each.reference));
    again.append(each.text || "pictures like it");
    again.onclick = () => { $("shelf").close(); go(each.address); };
    return [again];
  });
}

export function openFavourites(dataset, pick, changed) {
  const list = stored("favourites");
  for (const id of ["shelf-sheet", "shelf-csv", "shelf-empty"]) $(id).hidden = !list.length;
  $("shelf-empty").onclick = () => { store("favourites", []); count(); changed(); openFavourites(dataset, pick, changed); };
  $("shelf-csv").onclick = () => save("favourites.csv", new Blob([csv(list)], { type: "text/csv" }));
  $("shelf-sheet").onclick = async () => save("favourites.png", await sheet(list));
  opened("Favourites", list.length ? "Kept in this browser alone." : "Keep a picture by its star, and it will stand here.", list, (each) => {
    const on = document.createElement("button"), away = document.createElement("button");
    on.type = away.type = "button";
    on.append(thumbnail(each.dataset, each.image), each.image);
    on.title = "Search on from it";
    on.onclick = () => { $("shelf").close(); pick(each); };
    away.textContent = "✕";
    away.setAttribute("aria-label", `Take ${each.image} off the favourites`);
    away.onclick = () => { toggleKept(each.dataset, each); changed(); openFavourites(dataset, pick, changed); $("shelf-close").focus(); };
    return [on, away];
  });
}

export function csv(list) {
  const columns = ["dataset", "image", "category", "path"];
  const quoted = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  return [columns, ...list.map((each) => columns.map((column) => each[column]))].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
}

async function sheet(list) {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = GAP + COLUMNS * (SIDE + GAP);
  canvas.height = GAP + Math.ceil(list.length / COLUMNS) * (SIDE + LINE + GAP);
  pen.fillStyle = "#f6f4ef";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.font = "13px sans-serif";
  await Promise.all(list.map(async (each, place) => {
    const left = GAP + (place % COLUMNS) * (SIDE + GAP), top = GAP + Math.floor(place / COLUMNS) * (SIDE + LINE + GAP);
    pen.fillStyle = "#ffffff";
    pen.fillRect(left, top, SIDE, SIDE);
    pen.fillStyle = "#565d67";
    pen.fillText(each.image, left, top + SIDE + 17, SIDE);
    const picture = new Image();
    picture.src = pictureUrl(each.dataset, each.image, SIDE);
    // One that is gone by now leaves its place empty.
    try { await picture.decode(); } catch { return; }
    pen.drawImage(picture, left + (SIDE - picture.width) / 2, top + (SIDE - picture.height) / 2);
  }));
  return new Promise((made) => { canvas.toBlob(made, "image/png"); });
}

function save(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

$("shelf-close").addEventListener("click", () => $("shelf").close());
