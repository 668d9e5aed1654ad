// The labelling page: keys, drags and clicks in, answers out. The server renders; this file swaps what it sends.
"use strict";

const main = document.getElementById("main");
const toast = document.getElementById("toast");
const keys = document.getElementById("keys");
const SETTLE_MS = 150; // A second press that was meant for the question before is not an answer to this one.
const RETRY_MS = 1500;

// ---------------------------------------------------------------- talking to the server

const csrf = document.querySelector('meta[name="csrf"]').content;

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.error || `the desk answered ${response.status}`), { status: response.status });
}

function submission() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

let busy = false;

// Sent until it is answered; what is under way survives a reload, and the same submission is never two labels.
async function send(path, body) {
  busy = true;
  sessionStorage.setItem("pending", JSON.stringify({ path, body }));
  document.body.classList.add("busy");
  for (;;) {
    try {
      const answer = await post(path, body);
      sessionStorage.removeItem("pending");
      busy = false;
      document.body.classList.remove("busy");
      show(answer.question);
      say({ label: "Saved", skip: "Skipped", undo: "Taken back" }[answer.kind], answer.kind !== "undo");
      return;
    } catch (error) {
      if (error.status && error.status < 500) {
        sessionStorage.removeItem("pending");
        busy = false;
        document.body.classList.remove("busy");
        say(error.message, false, true);
        if (error.status === 409 || error.status === 403) setTimeout(() => location.reload(), 1800);
        return;
      }
      say(`Not saved yet, trying again: ${error.status ? error.message : "the desk cannot be reached"}`, false, true);
      await new Promise((wait) => setTimeout(wait, RETRY_MS));
    }
  }
}

let hiding = 0;

function say(text, undo, wrong = false) {
  toast.firstElementChild.textContent = text;
  toast.querySelector("button").hidden = !undo;
  toast.classList.toggle("wrong", wrong);
  toast.classList.add("shown");
  clearTimeout(hiding);
  if (!wrong) hiding = setTimeout(() => toast.classList.remove("shown"), 3500);
}

// ---------------------------------------------------------------- the question on the screen

let form = null;
let task = "";
let shownAt = 0; // When the page became visible with this question; 0 while it is hidden.
let before = 0; // Milliseconds it was looked at earlier.
let placed = 0; // Digits pressed so far in a ranking.
let current = 0; // The marked card, by place.

const cards = () => Array.from(form.querySelectorAll(".card"));
const card = (place) => form.querySelector(`.card[data-place="${place}"]`);
const pressed = (node) => node.getAttribute("aria-pressed") === "true";
const draftName = () => `draft:${form.dataset.item}:${form.dataset.round}:${form.dataset.revision}`;

function show(html) {
  main.innerHTML = html;
  begin();
  window.scrollTo(0, 0);
}

function begin() {
  form = document.getElementById("question");
  placed = 0;
  before = 0;
  shownAt = document.hidden ? 0 : performance.now();
  if (!form) {
    main.querySelector(".finished").focus({ preventScroll: true });
    return;
  }
  task = form.dataset.task;
  form.addEventListener("submit", (event) => event.preventDefault());
  restore();
  number();
  mark(cards()[0], true);
}

function seconds() {
  return (before + (shownAt ? performance.now() - shownAt : 0)) / 1000;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    before = seconds() * 1000;
    shownAt = 0;
    keep();
  } else {
    shownAt = performance.now();
  }
});

function state() {
  return {
    order: cards().map((node) => Number(node.dataset.place)),
    tied: cards().map((node) => node.classList.contains("tied")),
    ready: ready(),
    tags: cards().map((node) => [Number(node.dataset.place), chosen(node, "tag")]),
    reasons: chosen(form, "reason"),
    comment: form.elements.comment.value,
    milliseconds: seconds() * 1000,
  };
}

const chosen = (node, kind) =>
  Array.from(node.querySelectorAll(`[data-${kind}]`)).filter(pressed).map((chip) => chip.dataset[kind]);

// A draft lasts until the answer: a reload in the middle loses nothing.
function keep() {
  if (form) sessionStorage.setItem(draftName(), JSON.stringify(state()));
}

function restore() {
  const saved = JSON.parse(sessionStorage.getItem(draftName()) || "null");
  if (!saved) return;
  const list = form.querySelector(".cards");
  saved.order.forEach((place, index) => {
    list.append(card(place));
    card(place).classList.toggle("tied", saved.tied[index]);
  });
  saved.tags.forEach(([place, tags]) => tags.forEach((tag) => press(card(place).querySelector(`[data-tag="${tag}"]`), true)));
  saved.reasons.forEach((reason) => press(form.querySelector(`[data-reason="${reason}"]`), true));
  form.elements.comment.value = saved.comment;
  before = saved.milliseconds;
  if (saved.ready) makeReady();
}

function press(chip, on) {
  chip.setAttribute("aria-pressed", String(on));
}

function mark(node, focus = false) {
  cards().forEach((each) => each.classList.toggle("current", each === node));
  current = Number(node.dataset.place);
  if (focus) node.focus({ preventScroll: true });
}

function step(by) {
  const all = cards();
  const next = all[all.indexOf(card(current)) + by];
  if (!next) return;
  mark(next, true);
  next.scrollIntoView({ block: "nearest" });
}

// ---------------------------------------------------------------- answers

function answer(what) {
  if (busy || !form || performance.now() - shownAt < SETTLE_MS) return;
  if (what === "ranking" && !ready()) {
    say("Put them in order first: press the numbers from best to worst, or drag", false);
    return;
  }
  const body = {
    item: form.dataset.item,
    round: Number(form.dataset.round),
    revision: Number(form.dataset.revision),
    kind: what === "skip" ? "skip" : "label",
    seconds: Math.min(seconds(), 86400),
    submission: submission(),
    tags: cards().sort((a, b) => a.dataset.place - b.dataset.place).map((node) => chosen(node, "tag")),
    reasons: chosen(form, "reason"),
    comment: form.elements.comment.value,
  };
  if (body.kind === "label") {
    if (task === "rating") body.rating = Number(what);
    else body.ranks = task === "pair" ? { 0: [1, 2], 1: [2, 1], tie: [1, 1] }[what] : ranks();
    const button = form.querySelector(`[data-answer="${what}"]`);
    button.classList.add("taken");
  }
  sessionStorage.removeItem(draftName());
  send("/answers", body);
}

function undo() {
  if (!busy) send("/undo", { submission: submission() });
}

function ranks() {
  const byPlace = [];
  let rank = 1;
  cards().forEach((node, index) => {
    if (!node.classList.contains("tied")) rank = index + 1;
    byPlace[Number(node.dataset.place)] = rank;
  });
  return byPlace;
}

// ---------------------------------------------------------------- ranking

const ready = () => task === "ranking" && form.classList.contains("ready");

function makeReady() {
  form.classList.add("ready");
  form.querySelector('[data-answer="ranking"]').setAttribute("aria-disabled", "false");
}

const ordinal = (rank) => (rank === 1 ? "Best" : rank === 2 ? "2nd" : rank === 3 ? "3rd" : `${rank}th`);

// Writes each card's rank on it.
function number() {
  if (task !== "ranking") return;
  cards()[0].classList.remove("tied");
  const byPlace = ranks();
  cards().forEach((node) => {
    const rank = byPlace[Number(node.dataset.place)];
    node.querySelector(".rank").textContent = node.classList.contains("tied") ? "Tied" : ordinal(rank);
    node.setAttribute("aria-label", `Completion ${Number(node.dataset.place) + 1}, place ${rank}`);
  });
}

function moved() {
  number();
  makeReady();
  keep();
}

function shift(by) {
  const all = cards();
  const from = all.indexOf(card(current));
  const to = from + by;
  if (to < 0 || to >= all.length) return;
  const node = all[from];
  node.classList.remove("tied");
  all[to].classList.remove("tied");
  all[to][by > 0 ? "after" : "before"](node);
  mark(node, true);
  node.scrollIntoView({ block: "nearest" });
  moved();
}

// The numbers, pressed from best to worst: each puts its card at the next place.
function place(which) {
  const node = card(which);
  if (!node) return;
  const all = cards();
  if (placed === all.length - 1 && node === all[placed]) {
    placed += 1; // The last number follows from the others; who presses it anyway changes nothing.
    mark(node, true);
    return;
  }
  if (placed === 0 || placed >= all.length - 1) {
    placed = 0;
    all.forEach((each) => each.classList.remove("placed", "tied"));
  }
  if (node.classList.contains("placed")) return;
  node.classList.add("placed");
  const target = all[placed];
  if (target !== node) target.before(node);
  placed += 1;
  number();
  mark(node, true);
  if (placed >= all.length - 1) {
    cards().forEach((each) => each.classList.add("placed"));
    moved();
  }
}

function tie() {
  const node = card(current);
  if (node === cards()[0]) {
    say("The first has none above it to tie with", false);
    return;
  }
  node.classList.toggle("tied");
  moved();
}

function drag(event) {
  const node = event.target.closest(".card");
  if (task !== "ranking" || event.button !== 0 || !node || !event.target.closest(".head")) return;
  event.preventDefault();
  mark(node, true);
  const list = node.parentElement;
  let changed = false;
  const middle = (each) => each.getBoundingClientRect().top + each.offsetHeight / 2;
  const move = (at) => {
    let other;
    while ((other = node.nextElementSibling) && at.clientY > middle(other)) {
      other.after(node);
      changed = true;
    }
    while ((other = node.previousElementSibling) && at.clientY < middle(other)) {
      other.before(node);
      changed = true;
    }
    number();
  };
  const drop = () => {
    list.classList.remove("dragging");
    node.classList.remove("dragged");
    document.removeEventListener("pointermove", move);
    document.removeEventListener("pointerup", drop);
    document.removeEventListener("pointercancel", drop);
    if (changed) {
      cards().forEach((each) => each.classList.remove("tied"));
      moved();
    }
  };
  list.classList.add("dragging");
  node.classList.add("dragged");
  document.addEventListener("pointermove", move);
  document.addEventListener("pointerup", drop);
  document.addEventListener("pointercancel", drop);
}

// ---------------------------------------------------------------- rating

function along(by) {
  const points = Array.from(form.querySelectorAll(".point"));
  const at = points.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 3 : points.length - 4) : Math.min(Math.max(at + by, 0), points.length - 1);
  points[next].focus({ preventScroll: true });
}

// ---------------------------------------------------------------- keys, clicks

function onKey(event) {
  if (event.target.closest("textarea, input")) {
    const leave = event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey));
    if (leave && form) card(current).focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.target.closest("button, a") && (key === "Enter" || key === " ")) return;
  if (key === "?") keys.showModal();
  else if (event.repeat && !key.startsWith("Arrow")) return;
  else if (key === "u") undo();
  else if (!form || !act(key, event.shiftKey)) return;
  event.preventDefault();
}

// Whether the key meant something to the question.
function act(key, shifted) {
  const digit = /^[1-9]$/.test(key) ? Number(key) : 0;
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[key];
  const chip = keyed(card(current), "tag", key) || keyed(form, "reason", key);
  if (chip) toggle(chip);
  else if (key === "s") answer("skip");
  else if (key === "/") form.elements.comment.focus();
  else if (task === "rating" && digit && digit <= 7) answer(String(digit));
  else if (task === "rating" && by) along(by);
  else if (task === "pair" && (digit === 1 || digit === 2)) answer(String(digit - 1));
  else if (task === "pair" && key === "t") answer("tie");
  else if (task === "pair" && key === "Enter") answer(String(current));
  else if (task === "ranking" && digit) place(digit - 1);
  else if (task === "ranking" && key === "t") tie();
  else if (task === "ranking" && key === "Enter") answer("ranking");
  else if (task === "ranking" && by && shifted) shift(by);
  else if (by) step(by);
  else return false;
  return true;
}

const keyed = (node, kind, key) =>
  Array.from(node.querySelectorAll(`[data-${kind}]`)).find((chip) => chip.querySelector("kbd").textContent === key);

function toggle(chip) {
  press(chip, !pressed(chip));
  keep();
}

function onClick(event) {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.answer !== undefined) answer(button.dataset.answer);
  else if (button.dataset.tie !== undefined) tie();
  else if (button.classList.contains("chip")) toggle(button);
  else if (button.id === "undo" || button.id === "toast-undo") undo();
}

// ---------------------------------------------------------------- beginning

function label() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onClick);
  main.addEventListener("pointerdown", drag);
  main.addEventListener("focusin", (event) => {
    const node = event.target.closest(".card");
    if (node) mark(node);
  });
  main.addEventListener("input", keep);
  window.addEventListener("pagehide", keep);
  begin();
  const pending = JSON.parse(sessionStorage.getItem("pending") || "null");
  if (pending) send(pending.path, pending.body);
}

function signIn(entry) {
  entry.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const answer = await post("/session", { name: entry.elements.name.value.trim() });
      location.assign(answer.go);
    } catch (error) {
      document.getElementById("sign-in-error").textContent = error.message;
    }
  });
}

if (toast) label();
else if (document.getElementById("sign-in")) signIn(document.getElementById("sign-in"));
