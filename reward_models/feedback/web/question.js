// The question on the screen: which card is marked, what is pressed, how long it has been looked at, and its draft.

export let form = null;
export let task = "";
const SETTLE_MS = 150;
let shownAt = 0; // When the page became visible with this question; 0 while it is hidden.
let before = 0; // Milliseconds it was looked at earlier.
export let current = 0; // The marked card, by place.

export const cards = () => Array.from(form.querySelectorAll(".card"));
export const card = (place) => form.querySelector(`.card[data-place="${place}"]`);
const pressed = (node) => node.getAttribute("aria-pressed") === "true";
const draftName = () => `draft:${form.dataset.item}:${form.dataset.round}:${form.dataset.revision}`;

// Takes up what the server sent; false where that is no question.
export function take() {
  form = document.getElementById("question");
  before = 0;
  shownAt = document.hidden ? 0 : performance.now();
  if (!form) return false;
  task = form.dataset.task;
  form.addEventListener("submit", (event) => event.preventDefault());
  restore();
  return true;
}

// A second press that was meant for the question before is not an answer to this one.
export const settled = () => performance.now() - shownAt >= SETTLE_MS;

export const ready = () => task === "ranking" && form.classList.contains("ready");

export function makeReady() {
  form.classList.add("ready");
  form.querySelector('[data-answer="ranking"]').setAttribute("aria-disabled", "false");
}

export function seconds() {
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

export const chosen = (node, kind) =>
  Array.from(node.querySelectorAll(`[data-${kind}]`)).filter(pressed).map((chip) => chip.dataset[kind]);

// A draft lasts until the answer: a reload in the middle loses nothing.
export function keep() {
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

export function toggle(chip) {
  press(chip, !pressed(chip));
  keep();
}

export function forget() {
  sessionStorage.removeItem(draftName());
}

export function mark(node, focus = false) {
  cards().forEach((each) => each.classList.toggle("current", each === node));
  current = Number(node.dataset.place);
  if (focus) node.focus({ preventScroll: true });
}

export function step(by) {
  const all = cards();
  const next = all[all.indexOf(card(current)) + by];
  if (!next) return;
  mark(next, true);
  next.scrollIntoView({ block: "nearest" });
}
