// Putting completions in order: by numbers, by moving the marked one, by drag, with ties.

import { card, cards, current, keep, makeReady, mark, task } from "/question.js";
import { say } from "/server.js";

let placed = 0; // Numbers pressed so far.

// Shows the ranks of a new question.
export function begin() {
  placed = 0;
  number();
}

// By place on the screen, 1 is best; equal ones are tied.
export function ranks() {
  const byPlace = [];
  let rank = 1;
  cards().forEach((node, index) => {
    if (!node.classList.contains("tied")) rank = index + 1;
    byPlace[Number(node.dataset.place)] = rank;
  });
  return byPlace;
}

const ordinal = (rank) => (rank === 1 ? "Best" : rank === 2 ? "2nd" : rank === 3 ? "3rd" : `${rank}th`);

// Writes each card's rank on it.
export function number() {
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

export function shift(by) {
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
export function place(which) {
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

export function tie() {
  const node = card(current);
  if (node === cards()[0]) {
    say("The first has none above it to tie with", false);
    return;
  }
  node.classList.toggle("tied");
  moved();
}

export function drag(event) {
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
