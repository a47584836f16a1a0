// The whole state stands in the address, so that a link, a reload and the way back all reproduce it.
import { look } from "./look.js";
import { count, isKept, openFavourites, openHistory, pictureUrl, remember, toggleKept } from "./shelf.js";

const $ = (id) => document.getElementById(id);
const PAGE = 60, FOUND = 48, FOUND_BESIDE = 24;
const LARGEST_UPLOAD = 20_000_000;
const NAMES = ["dataset", "pipeline", "beside", "reference", "text", "category", "target", "part"];
let datasets = [];
let state = {};
let shown = [];
let asked = 0;

const number = (value) => value.toLocaleString("en");
const shownUrl = (image, side) => pictureUrl(state.dataset, image, side);
const isUpload = (image) => image.startsWith("upload:");

async function fetched(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || `The server answered ${answer.status}.`);
  return body;
}

function show(message) {
  $("wrong").hidden = !message;
  $("wrong").textContent = message || "";
}

function list(given, name, fits) {
  // A link that was cut short has no way back.
  try { const read = JSON.parse(given.get(name) || "[]"); return Array.isArray(read) ? read.filter(fits) : []; } catch { return []; }
}

function readAddress() {
  const given = new URLSearchParams(location.search);
  const pull = Number(given.get("pull")), shuffle = Number(given.get("shuffle"));
  state = Object.fromEntries(NAMES.map((name) => [name, given.get(name) || ""]));
  state.dataset ||= datasets[0].dataset;
  state.pull = Number.isFinite(pull) ? Math.max(-1, Math.min(1, pull)) : 0;
  state.shuffle = Number.isInteger(shuffle) && shuffle >= 0 && shuffle < 2 ** 32 ? shuffle : 0;
  state.unlike = list(given, "unlike", (image) => typeof image === "string").slice(0, 50);
  state.trail = list(given, "trail", (step) => Array.isArray(step) && step.length === 2).slice(-12);
}

function address() {
  const said = new URLSearchParams();
  for (const name of NAMES) if (state[name]) said.set(name, state[name]);
  for (const name of ["pull", "shuffle"]) if (state[name]) said.set(name, String(state[name]));
  for (const name of ["unlike", "trail"]) if (state[name].length) said.set(name, JSON.stringify(state[name]));
  return `?${said}`;
}

const typed = () => $("text").value.trim();

// Words that were typed but not yet searched with come along wherever one goes; a known target goes with its words,
// and what is not meant with the picture it was said of.
function go(changes, replace) {
  const text = changes.text ?? typed();
  const target = changes.target ?? (text === state.text ? state.target : "");
  const unlike = changes.unlike ?? (changes.reference === undefined ? state.unlike : []);
  state = { ...state, ...changes, text, target, unlike };
  history[replace ? "replaceState" : "pushState"](null, "", address());
  return draw();
}

const pick = (picture) => {
  const on = state.reference || state.text ? [...state.trail, [state.reference, state.text]] : [];
  const text = typed() === state.text && state.reference ? "" : typed();
  const drawn = go({ reference: picture.image, dataset: picture.dataset || state.dataset, text, target: "", trail: on.slice(-12) });
  $("text").focus();
  return drawn;
};
const away = (picture) => {
  $("said").textContent = `${picture.image} is not meant.`;
  return go({ unlike: [...new Set([...state.unlike, picture.image])].slice(-50) });
};

function drawPipelines(mine) {
  const names = datasets.filter((each) => each.dataset === state.dataset).map((each) => each.pipeline);
  for (const id of ["pipeline", "beside"]) $(`${id}-label`).hidden = names.length < 2;
  $("pipeline").replaceChildren(...names.map((name) => new Option(name, name)));
  $("pipeline").value = mine ? mine.pipeline : "";
  const others = names.filter((name) => !mine || name !== mine.pipeline);
  if (!others.includes(state.beside)) state.beside = "";
  $("beside").replaceChildren(new Option("nothing", ""), ...others.map((name) => new Option(name, name)));
  $("beside").value = state.beside;
}

async function draw() {
  show("");
  const mine = datasets.find((each) => each.dataset === state.dataset && (!state.pipeline || each.pipeline === state.pipeline));
  const searching = Boolean(state.reference || state.text);
  $("dataset").value = state.dataset;
  drawPipelines(mine);
  $("text").value = state.text;
  $("text-label").textContent = state.reference ? "2. What should differ" : "2. Words";
  $("text").placeholder = state.reference ? "is red and has longer sleeves" : "a red dress with long sleeves";
  $("pull").value = String(Math.round(state.pull * 100));
  $("pull-box").hidden = !(state.reference && state.text);
  $("reference").hidden = $("other").hidden = !state.reference;
  $("nothing").hidden = Boolean(state.reference);
  $("shown").classList.toggle("small", !state.reference);
  $("reference-name").textContent = isUpload(state.reference) ? "your picture" : state.reference;
  if (state.reference) {
    $("reference").src = shownUrl(state.reference, 512);
    $("reference").alt = isUpload(state.reference) ? "Your picture" : `The reference picture ${state.reference}`;
  } else {
    $("reference").removeAttribute("src");
  }
  const categories = mine ? mine.categories : [];
  $("category-label").hidden = categories.length < 2;
  $("category").replaceChildren(new Option("all kinds", ""), ...categories.map((name) => new Option(name, name)));
  $("category").value = state.category;
  $("part").value = state.part;
  $("part-label").hidden = $("shuffle").hidden = searching;
  // An upload is kept by the server for a while only; a link to it would end with it.
  $("link").hidden = !searching || isUpload(state.reference);
  $("unread").hidden = true;
  if (mine) {
    const headline = mine.headline === null ? "" : `, headline ${mine.headline.toFixed(1)} on val`;
    const index = mine.index_recall === null ? "every picture is compared" : `approximate index, recall at 50 ${(100 * mine.index_recall).toFixed(1)} %`;
    $("model").textContent = mine.champion
      ? `Champion ${mine.champion.slice(0, 8)} of ${mine.pipeline} (${mine.method.replaceAll("_", " ")}${headline}); ${number(mine.pictures)} pictures, ${index}.`
      : `No champion yet: CLIP as it came, ${mine.pipeline}; ${number(mine.pictures)} pictures, ${index}.`;
  }
  drawTrail();
  drawUnlike();
  await (searching ? search() : browse(0));
}

function pictureButton(image, text, title, chosen) {
  const item = document.createElement("li"), button = document.createElement("button");
  button.type = "button";
  if (image) {
    const thumbnail = document.createElement("img");
    thumbnail.src = shownUrl(image, 96);
    thumbnail.alt = "";
    button.append(thumbnail);
  }
  const words = document.createElement("span");
  words.textContent = text;
  button.append(words);
  button.title = title;
  button.addEventListener("click", chosen);
  item.append(button);
  return item;
}

function drawTrail() {
  $("trail").hidden = !state.trail.length;
  $("trail").querySelector("ol").replaceChildren(...state.trail.map(([reference, text], place) => pictureButton(
    reference, text || "pictures like it", "Back to this step",
    () => go({ reference, text, target: "", trail: state.trail.slice(0, place) }),
  )));
}

function drawUnlike() {
  $("unlike").hidden = !state.unlike.length;
  $("unlike").querySelector("ul").replaceChildren(...state.unlike.map((image) => pictureButton(
    image, "✕", `${image} may be meant after all`, () => go({ unlike: state.unlike.filter((each) => each !== image) }),
  )));
  for (const button of $("unlike").querySelectorAll("button")) button.setAttribute("aria-label", button.title);
}

const copies = (picture) => picture.copies ? `, with ${number(picture.copies)} exact ${picture.copies === 1 ? "copy" : "copies"}` : "";

function drawKept() {
  for (const button of document.querySelectorAll(".cards .keep")) {
    const kept = isKept(state.dataset, button.dataset.image);
    button.textContent = kept ? "★" : "☆";
    button.setAttribute("aria-pressed", String(kept));
  }
}

function card(picture, pictures, place) {
  const item = $("card").content.firstElementChild.cloneNode(true);
  const [chosen, view, keep, notThis] = item.querySelectorAll("button"), image = item.querySelector("img");
  image.src = shownUrl(picture.image, 320);
  image.alt = picture.searched ? `Result ${picture.rank}, picture ${picture.image}${copies(picture)}` : `Picture ${picture.image}`;
  chosen.title = picture.image;
  item.querySelector(".rank").textContent = picture.searched ? `${number(picture.rank)}${picture.meant ? " · meant" : ""}` : picture.image;
  item.classList.toggle("meant", Boolean(picture.meant));
  for (const [button, says] of [[view, "Show large"], [keep, "Keep"], [notThis, "Not this one"]]) button.setAttribute("aria-label", `${says}: ${picture.image}`);
  keep.dataset.image = picture.image;
  notThis.hidden = !picture.searched || picture.meant;
  const does = { pick, away, changed: drawKept };
  const act = {
    v: () => look(pictures, place, state.dataset, does),
    f: () => { toggleKept(state.dataset, picture); drawKept(); },
    x: () => notThis.hidden || away(picture).then(() => $("results").querySelector(".pick")?.focus()),
  };
  chosen.addEventListener("click", () => pick(picture));
  view.addEventListener("click", act.v);
  keep.addEventListener("click", act.f);
  notThis.addEventListener("click", act.x);
  // Letters alone act on a picture that has the focus, and nowhere else.
  chosen.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const letter = act[event.key.toLowerCase()];
    if (letter) { event.preventDefault(); letter(); } else walk(event, item);
  });
  return item;
}

// Arrow keys go to the next picture that way, however many stand in a row.
function walk(event, item) {
  const all = [...item.parentElement.children], place = all.indexOf(item);
  const top = all[0].offsetTop, across = Math.max(1, all.filter((each) => each.offsetTop === top).length);
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
  if (!by || !all[place + by]) return;
  event.preventDefault();
  all[place + by].querySelector(".pick").focus();
}

function deal(into, pictures, begin = 0) {
  const cards = pictures.slice(begin).map((picture, place) => card(picture, pictures, begin + place));
  if (begin) into.append(...cards); else into.replaceChildren(...cards);
  drawKept();
}

function failed(mine, error) {
  if (mine !== asked) return;
  $("results").replaceChildren();
  $("results-beside").replaceChildren();
  $("said").textContent = "";
  $("more").hidden = true;
  show(error.message);
}

function galleryOf(extra) {
  const wanted = new URLSearchParams({ dataset: state.dataset, ...extra });
  if (state.category) wanted.set("category", state.category);
  if (state.pipeline) wanted.set("pipeline", state.pipeline);
  return fetched(`gallery?${wanted}`);
}

async function browse(offset) {
  const mine = ++asked;
  $("weight").textContent = "";
  $("heading").textContent = "Pick a picture to start from";
  $("second").hidden = $("first-name").hidden = true;
  $("sides").classList.remove("two");
  const extra = { offset: String(offset), limit: String(PAGE), ...(state.part ? { part: state.part } : { shuffle: String(state.shuffle) }) };
  try {
    const gallery = await galleryOf(extra);
    if (mine !== asked) return;
    shown = offset ? [...shown, ...gallery.pictures] : gallery.pictures;
    deal($("results"), shown, offset);
    $("said").textContent = gallery.total
      ? `${number(shown.length)} of ${number(gallery.total)} pictures${state.part ? ` with “${state.part}” in their name` : ""}`
      : `No picture has “${state.part}” in its name.`;
    $("more").hidden = shown.length >= gallery.total;
    $("more").onclick = () => browse(shown.length);
    drawOffers(gallery);
  } catch (error) { failed(mine, error); }
}

function drawOffers(gallery) {
  $("examples-box").hidden = !gallery.examples.length || Boolean(state.reference || state.text);
  $("examples").replaceChildren(...gallery.examples.map((example) => {
    const item = pictureButton(example.reference, example.text, "", () => go({
      reference: example.reference, text: example.text, target: example.target, category: example.category || "", pull: 0, trail: [],
    }));
    const meant = document.createElement("img"), rank = document.createElement("span");
    meant.src = `${example.target_url}?side=96`;
    meant.alt = "";
    rank.className = "quiet";
    rank.textContent = example.rank === null ? "" : example.rank <= 50 ? `found at ${number(example.rank)}` : `not found: at ${number(example.rank)}`;
    item.firstElementChild.append(meant, rank);
    item.firstElementChild.querySelector("img").after("+");
    meant.before("→");
    return item;
  }));
  $("suggestions").hidden = !gallery.suggestions.length;
  $("suggestions").replaceChildren(...gallery.suggestions.map((words) => pictureButton("", words, `Add “${words}” and search`, () => {
    const text = typed() ? `${typed()} and ${words}` : words;
    go({ text });
  })));
}

const answered = (pipeline, top) => fetched("search", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    dataset: state.dataset, pipeline: pipeline || null, reference: state.reference || null, text: state.text || null, top,
    pull: state.pull, category: state.category || null, target: state.target || null, unlike: state.unlike,
  }),
});

function results(answer) {
  const found = answer.results.map((picture) => ({ ...picture, searched: true, meant: picture.image === answer.target_image }));
  if (answer.target_rank > found.length) {
    found.push({ image: answer.target_image, rank: answer.target_rank, score: answer.target_score, searched: true, meant: true });
  }
  return found;
}

const placeOf = (answer) => answer.target_rank === null ? "" : ` The picture meant is at rank ${number(answer.target_rank)}.`;

async function search() {
  const mine = ++asked;
  document.body.classList.add("waiting");
  $("more").hidden = true;
  $("examples-box").hidden = true;
  try {
    const top = state.beside ? FOUND_BESIDE : FOUND;
    const [answer, other] = await Promise.all([answered(state.pipeline, top), state.beside ? answered(state.beside, top) : null]);
    if (mine !== asked) return;
    $("heading").textContent = !state.text ? "Pictures like it" : state.reference ? "What you may mean" : "What your words find";
    const heading = $("heading").getBoundingClientRect().top;
    if (heading < 0 || heading > innerHeight / 2) ($("trail").hidden ? $("heading") : $("trail")).scrollIntoView();
    shown = results(answer);
    deal($("results"), shown);
    $("sides").classList.toggle("two", Boolean(other));
    $("second").hidden = $("first-name").hidden = !other;
    deal($("results-beside"), other ? results(other) : []);
    if (other) {
      $("first-name").textContent = `${answer.pipeline}.${placeOf(answer)}`;
      $("second-name").textContent = `${other.pipeline}.${placeOf(other)}`;
    }
    const next = state.text ? "Pick one to go on from it." : "Now say what should differ.";
    $("said").textContent = `${number(answer.searched)} pictures ${answer.exact ? "compared" : "looked through"} in ${Math.max(1, Math.round(1000 * answer.seconds))} ms.${other ? "" : placeOf(answer)} ${next}`;
    const used = answer.text_weight_used.toFixed(2);
    $("weight").textContent = answer.text_weight === null
      ? `Weight of the words: ${used}.`
      : `Weight of the words (lambda): learnt ${answer.text_weight.toFixed(2)}${state.pull ? `, pulled to ${used}` : ""}.`;
    $("unread").hidden = !answer.unread;
    $("unread").textContent = answer.unread ? `Your text is longer than the model reads. Not read: “${answer.unread}”` : "";
    if (!isUpload(state.reference)) remember({ dataset: state.dataset, reference: state.reference, text: state.text, address: address() });
    drawOffers(await galleryOf({ limit: "1" }));
  } catch (error) { failed(mine, error); } finally {
    if (mine === asked) document.body.classList.remove("waiting");
  }
}

async function upload(file) {
  show("");
  if (!file) return;
  if (file.size > LARGEST_UPLOAD) {
    show(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB; at most ${LARGEST_UPLOAD / 1e6} MB are taken. Bring a smaller picture.`);
    return;
  }
  $("said").textContent = "Taking your picture …";
  try {
    const answer = await fetched(`pictures?${new URLSearchParams({ dataset: state.dataset })}`, { method: "POST", body: file });
    await go({ reference: answer.reference, target: "", trail: [] });
    $("text").focus();
  } catch (error) {
    $("said").textContent = "";
    show(error.message);
  }
}

function takePictures() {
  $("file").addEventListener("change", () => { upload($("file").files[0]); $("file").value = ""; });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    upload(file);
  });
  // Anywhere on the page: a file dropped beside a box would else open in its place.
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      if (![...(event.dataTransfer?.types || [])].includes("Files")) return;
      event.preventDefault();
      document.body.classList.toggle("dragged", kind === "dragover");
      if (kind === "drop") upload(event.dataTransfer.files[0]);
    });
  }
}

async function start() {
  try {
    datasets = await fetched("datasets");
  } catch (error) {
    show(error.message);
    return;
  }
  $("dataset").replaceChildren(...[...new Set(datasets.map((each) => each.dataset))].map((name) => new Option(name, name)));
  readAddress();
  count();
  takePictures();
  const clear = { reference: "", category: "", target: "", part: "", trail: [] };
  $("dataset").addEventListener("change", () => go({ ...clear, dataset: $("dataset").value, pipeline: "", beside: "" }));
  for (const name of ["category", "pipeline", "beside"]) $(name).addEventListener("change", () => go({ [name]: $(name).value }));
  $("pull").addEventListener("change", () => go({ pull: Number($("pull").value) / 100 }, true));
  $("other").addEventListener("click", () => go({ reference: "", target: "", trail: [] }));
  $("home").addEventListener("click", (event) => { event.preventDefault(); go({ ...clear, text: "", pull: 0 }); });
  $("shuffle").addEventListener("click", () => go({ shuffle: 1 + Math.floor(Math.random() * (2 ** 32 - 1)), part: "" }));
  let soon;
  $("part").addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(() => { state.part = $("part").value.trim(); history.replaceState(null, "", address()); browse(0); }, 200); });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!state.reference && !typed()) return show("Bring or pick a picture, or say in words what you look for.");
    return go({});
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); $("ask").requestSubmit(); }
  });
  $("history-button").addEventListener("click", () => openHistory((to) => { history.pushState(null, "", to); readAddress(); draw(); }));
  $("favourites-button").addEventListener("click", () => openFavourites(state.dataset, pick, drawKept));
  $("link").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(location.href); $("link").textContent = "Copied"; } catch { $("link").textContent = "Copy it from the address bar"; }
    setTimeout(() => { $("link").textContent = "Copy link"; }, 2000);
  });
  addEventListener("popstate", () => { readAddress(); draw(); });
  await draw();
}

start();
