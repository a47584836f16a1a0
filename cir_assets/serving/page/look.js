// A picture large, with what is known of it; the arrow keys go through those shown.
import { isKept, pictureUrl, toggleKept } from "./shelf.js";

const $ = (id) => document.getElementById(id);
let shown = [], place = 0, dataset = "", actions = {};

export function look(pictures, at, of, does) {
  [shown, place, dataset, actions] = [pictures, at, of, does];
  draw();
  if (!$("look").open) $("look").showModal();
}

function draw() {
  const picture = shown[place];
  $("look-name").textContent = picture.image;
  $("look-picture").src = pictureUrl(dataset, picture.image, 1024);
  $("look-picture").alt = `Picture ${picture.image}`;
  const facts = {
    Kind: picture.category,
    File: picture.path,
    Rank: picture.searched && picture.rank.toLocaleString("en"),
    Likeness: picture.searched && picture.score.toFixed(3),
    "Exact copies": picture.copies && picture.copies.toLocaleString("en"),
  };
  $("look-facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => {
    const term = document.createElement("dt"), told = document.createElement("dd");
    term.textContent = name;
    told.textContent = value;
    return [term, told];
  }));
  $("look-keep").textContent = isKept(dataset, picture.image) ? "★ Kept" : "☆ Keep";
  $("look-original").href = pictureUrl(dataset, picture.image, 0).replace(/^pictures/, "originals").replace(/\?.*/, "");
  $("look-before").disabled = place === 0;
  $("look-after").disabled = place === shown.length - 1;
  $("look-unlike").hidden = !picture.searched;
}

function step(by) {
  if (!shown[place + by]) return;
  place += by;
  draw();
}

$("look-before").addEventListener("click", () => step(-1));
$("look-after").addEventListener("click", () => step(1));
$("look-close").addEventListener("click", () => $("look").close());
$("look-pick").addEventListener("click", () => { $("look").close(); actions.pick(shown[place]); });
$("look-unlike").addEventListener("click", () => { $("look").close(); actions.away(shown[place]); });
$("look-keep").addEventListener("click", () => { toggleKept(dataset, shown[place]); actions.changed(); draw(); });
$("look").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
