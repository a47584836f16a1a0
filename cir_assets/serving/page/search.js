"use strict";
// The whole state stands in the address, so that a link, a reload and the way back all reproduce it.
const $ = (id) => document.getElementById(id);
const PAGE = 60;
const LARGEST_UPLOAD = 20_000_000;
let datasets = [];
let state = { dataset: "", reference: "", text: "", category: "", pull: 0, target: "", trail: [] };
let asked = 0;

// Relative, as every address here, so that the page works below any path; some proxies refuse an encoded slash.
const pictureUrl = (image, side) => `pictures/${encodeURIComponent(state.dataset)}/${image.split("/").map(encodeURIComponent).join("/")}?side=${side}`;

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

function readAddress() {
  const given = new URLSearchParams(location.search);
  let trail = [];
  try { trail = JSON.parse(given.get("trail") || "[]"); } catch { /* a link that was cut short has no way back */ }
  const pull = Number(given.get("pull"));
  state = {
    dataset: given.get("dataset") || datasets[0].dataset,
    reference: given.get("reference") || "",
    text: given.get("text") || "",
    category: given.get("category") || "",
    pull: Number.isFinite(pull) ? Math.max(-1, Math.min(1, pull)) : 0,
    target: given.get("target") || "",
    trail: Array.isArray(trail) ? trail.filter((step) => Array.isArray(step) && step.length === 2).slice(-12) : [],
  };
}

function address() {
  const said = new URLSearchParams({ dataset: state.dataset });
  for (const key of ["reference", "text", "category", "target"]) if (state[key]) said.set(key, state[key]);
  if (state.pull) said.set("pull", String(state.pull));
  if (state.trail.length) said.set("trail", JSON.stringify(state.trail));
  return `?${said}`;
}

const typed = () => $("text").value.trim();

// Words that were typed but not yet searched with come along wherever one goes; a known target goes with its words.
function go(changes, replace) {
  const text = changes.text ?? typed();
  const target = changes.target ?? (text === state.text ? state.target : "");
  state = { ...state, ...changes, text, target };
  history[replace ? "replaceState" : "pushState"](null, "", address());
  return draw();
}

async function draw() {
  show("");
  const mine = datasets.find((each) => each.dataset === state.dataset);
  $("dataset").value = state.dataset;
  $("text").value = state.text;
  $("pull").value = String(Math.round(state.pull * 100));
  $("reference").hidden = !state.reference;
  $("nothing").hidden = Boolean(state.reference);
  $("other").hidden = !state.reference;
  $("reference-name").textContent = state.reference.startsWith("upload:") ? "your picture" : state.reference;
  if (state.reference) {
    $("reference").src = pictureUrl(state.reference, 512);
    $("reference").alt = `The reference picture ${state.reference}`;
  } else {
    $("reference").removeAttribute("src");
  }
  const categories = mine ? mine.categories : [];
  $("category-label").hidden = categories.length < 2;
  $("category").replaceChildren(new Option("everything", ""), ...categories.map((name) => new Option(name, name)));
  $("category").value = state.category;
  if (mine) {
    const headline = mine.headline === null ? "" : `, headline ${mine.headline.toFixed(1)} on val`;
    const index = mine.index_recall === null ? "every picture is compared" : `approximate index, recall at 50 ${(100 * mine.index_recall).toFixed(1)} %`;
    $("model").textContent = mine.champion
      ? `Champion ${mine.champion.slice(0, 8)} of ${mine.pipeline} (${mine.method.replaceAll("_", " ")}${headline}); ${mine.pictures.toLocaleString("en")} pictures, ${index}.`
      : `No champion yet: CLIP as it came, ${mine.pipeline}; ${mine.pictures.toLocaleString("en")} pictures, ${index}.`;
  }
  drawTrail();
  await (state.reference && state.text ? search() : browse(0));
}

function drawTrail() {
  $("trail").hidden = !state.trail.length;
  $("trail").querySelector("ol").replaceChildren(...state.trail.map(([reference, text], place) => {
    const item = document.createElement("li");
    const back = document.createElement("button");
    back.type = "button";
    const image = document.createElement("img");
    image.src = pictureUrl(reference, 96);
    image.alt = "";
    back.append(image, document.createTextNode(text));
    back.title = "Back to this step";
    back.addEventListener("click", () => go({ reference, text, target: "", trail: state.trail.slice(0, place) }));
    item.append(back);
    return item;
  }));
}

const copies = (picture) => picture.copies ? `, with ${picture.copies.toLocaleString("en")} exact ${picture.copies === 1 ? "copy" : "copies"}` : "";

function card(picture, label, score, chosen, meant) {
  const item = $("card").content.firstElementChild.cloneNode(true);
  const image = item.querySelector("img");
  image.src = pictureUrl(picture.image, 320);
  image.alt = label;
  item.querySelector(".rank").textContent = score === null ? picture.image : `${picture.rank}`;
  item.querySelector(".score").textContent = score === null ? "" : score.toFixed(3);
  const button = item.querySelector("button");
  button.title = picture.image;
  if (meant) {
    button.classList.add("meant");
    item.querySelector(".rank").textContent = `${picture.rank.toLocaleString("en")} · meant`;
  }
  button.addEventListener("click", () => chosen(picture));
  return item;
}

async function browse(offset) {
  const mine = ++asked;
  $("weight").textContent = "";
  $("heading").textContent = "Pick a picture to start from";
  const wanted = new URLSearchParams({ dataset: state.dataset, offset: String(offset), limit: String(PAGE) });
  if (state.category) wanted.set("category", state.category);
  try {
    const gallery = await fetched(`gallery?${wanted}`);
    if (mine !== asked) return;
    const cards = gallery.pictures.map((picture) => card(picture, `Picture ${picture.image}`, null, (chosen) => {
      go({ reference: chosen.image, target: "" });
      $("text").focus();
    }));
    if (offset) $("results").append(...cards); else $("results").replaceChildren(...cards);
    const shown = offset + gallery.pictures.length;
    $("said").textContent = state.reference
      ? "Now say what should differ, or pick another picture."
      : `${shown.toLocaleString("en")} of ${gallery.total.toLocaleString("en")} pictures`;
    $("more").hidden = shown >= gallery.total;
    $("more").onclick = () => browse(shown);
    drawExamples(gallery.examples);
  } catch (error) {
    if (mine === asked) { $("results").replaceChildren(); $("said").textContent = ""; $("more").hidden = true; show(error.message); }
  }
}

function drawExamples(examples) {
  $("examples-box").hidden = !examples.length;
  $("examples").replaceChildren(...examples.map((example) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    const image = document.createElement("img");
    image.src = `${example.url}?side=96`;
    image.alt = "";
    image.loading = "lazy";
    button.append(image, document.createTextNode(example.text));
    button.addEventListener("click", () => go({
      reference: example.reference, text: example.text, target: example.target, category: example.category || "", pull: 0, trail: [],
    }));
    item.append(button);
    return item;
  }));
}

async function search() {
  const mine = ++asked;
  document.body.classList.add("waiting");
  $("more").hidden = true;
  const body = { dataset: state.dataset, reference: state.reference, text: state.text, top: 48, pull: state.pull };
  if (state.category) body.category = state.category;
  if (state.target) body.target = state.target;
  try {
    const answer = await fetched("search", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    if (mine !== asked) return;
    $("heading").textContent = "What you may mean";
    const top = $("heading").getBoundingClientRect().top;
    if (top < 0 || top > innerHeight / 2) $("heading").scrollIntoView();
    const shown = [...answer.results];
    if (answer.target_rank > shown.length) shown.push({ image: answer.target_image, rank: answer.target_rank, score: answer.target_score });
    $("results").replaceChildren(...shown.map((picture) => card(
      picture, `Result ${picture.rank}, picture ${picture.image}${copies(picture)}`, picture.score,
      (chosen) => {
        const text = typed() === state.text ? "" : typed();
        go({ reference: chosen.image, text, target: "", trail: [...state.trail, [state.reference, state.text]] });
        $("text").focus();
      },
      picture.image === answer.target_image,
    )));
    const place = answer.target_rank === null ? "" : ` The picture meant is at rank ${answer.target_rank.toLocaleString("en")}.`;
    $("said").textContent = `${answer.searched.toLocaleString("en")} pictures ${answer.exact ? "compared" : "looked through"} in ${Math.max(1, Math.round(1000 * answer.seconds))} ms.${place} Click one to go on from it.`;
    const used = answer.text_weight_used.toFixed(2);
    $("weight").textContent = answer.text_weight === null
      ? `Weight of the words: ${used}.`
      : `Weight of the words (lambda): learnt ${answer.text_weight.toFixed(2)}${state.pull ? `, pulled to ${used}` : ""}.`;
    if ($("examples-box").hidden) drawExamples((await fetched(`gallery?${new URLSearchParams({ dataset: state.dataset, limit: "1" })}`)).examples);
  } catch (error) {
    if (mine === asked) { $("results").replaceChildren(); $("said").textContent = ""; show(error.message); }
  } finally {
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
    await go({ reference: answer.reference, target: "" });
    $("text").focus();
  } catch (error) {
    $("said").textContent = "";
    show(error.message);
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
  $("dataset").addEventListener("change", () => go({ dataset: $("dataset").value, reference: "", category: "", target: "", trail: [] }));
  $("category").addEventListener("change", () => go({ category: $("category").value }));
  $("pull").addEventListener("change", () => go({ pull: Number($("pull").value) / 100 }, true));
  $("other").addEventListener("click", () => go({ reference: "", target: "" }));
  $("file").addEventListener("change", () => { upload($("file").files[0]); $("file").value = ""; });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!state.reference) return show("Pick or upload a picture first.");
    if (!typed()) return show("Say what should differ, for example: is red and has longer sleeves.");
    return go({});
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); $("ask").requestSubmit(); }
  });
  $("link").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(location.href); $("link").textContent = "Copied"; } catch { $("link").textContent = "Copy it from the address bar"; }
    setTimeout(() => { $("link").textContent = "Copy link"; }, 2000);
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    $("drop").addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("dragged", kind === "dragover");
      if (kind === "drop") upload(event.dataTransfer.files[0]);
    });
  }
  addEventListener("popstate", () => { readAddress(); draw(); });
  await draw();
}

start();
