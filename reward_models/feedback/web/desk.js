// The labelling page: keys, drags and clicks in, answers out. The server renders; this file swaps what it sends.

import { card, cards, chosen, current, forget, form, keep, mark, ready, seconds, settled, step, take, task, toggle } from "/question.js";
import * as ranking from "/ranking.js";
import { csrf, post, say, submission, toast } from "/server.js";

const main = document.getElementById("main");
const keys = document.getElementById("keys");
const RETRY_MS = 1500;

// ---------------------------------------------------------------- answers

let busy = false;

// Sent until it is answered; what is under way survives a reload, and the same submission is never two labels.
async function send(path, body) {
  busy = true;
  sessionStorage.setItem("pending", JSON.stringify({ path, body, csrf }));
  document.body.classList.add("busy");
  for (;;) {
    try {
      const answer = await post(path, body);
      done();
      show(answer.question);
      say({ label: "Saved", skip: "Skipped", undo: "Taken back" }[answer.kind], answer.kind !== "undo");
      return;
    } catch (error) {
      if (!busy) throw error;
      if (error.status && error.status < 500) {
        done();
        say(error.message, false, true);
        if (error.status === 409 || error.status === 403) setTimeout(() => location.reload(), 1800);
        return;
      }
      say(`Not saved yet, trying again: ${error.status ? error.message : "the desk cannot be reached"}`, false, true);
      await new Promise((wait) => setTimeout(wait, RETRY_MS));
    }
  }
}

function done() {
  sessionStorage.removeItem("pending");
  busy = false;
  document.body.classList.remove("busy");
}

function show(html) {
  main.innerHTML = html;
  begin();
  window.scrollTo(0, 0);
}

function begin() {
  if (take()) {
    ranking.begin();
    mark(cards()[0], true);
  } else {
    main.querySelector(".finished").focus({ preventScroll: true });
  }
}

function answer(what) {
  if (busy || !form || !settled()) return;
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
    else body.ranks = task === "pair" ? { 0: [1, 2], 1: [2, 1], tie: [1, 1] }[what] : ranking.ranks();
    const button = form.querySelector(`[data-answer="${what}"]`);
    button.classList.add("taken");
  }
  forget();
  send("/answers", body);
}

function undo() {
  if (!busy) send("/undo", { submission: submission() });
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
  else if (task === "ranking" && digit) ranking.place(digit - 1);
  else if (task === "ranking" && key === "t") ranking.tie();
  else if (task === "ranking" && key === "Enter") answer("ranking");
  else if (task === "ranking" && by && shifted) ranking.shift(by);
  else if (by) step(by);
  else return false;
  return true;
}

const keyed = (node, kind, key) =>
  Array.from(node.querySelectorAll(`[data-${kind}]`)).find((chip) => chip.querySelector("kbd").textContent === key);

function onClick(event) {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.answer !== undefined) answer(button.dataset.answer);
  else if (button.dataset.tie !== undefined) ranking.tie();
  else if (button.classList.contains("chip")) toggle(button);
  else if (button.id === "undo" || button.id === "toast-undo") undo();
}

// ---------------------------------------------------------------- beginning

function label() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onClick);
  main.addEventListener("pointerdown", ranking.drag);
  main.addEventListener("focusin", (event) => {
    const node = event.target.closest(".card");
    if (node) mark(node);
  });
  main.addEventListener("input", keep);
  window.addEventListener("pagehide", keep);
  begin();
  const pending = JSON.parse(sessionStorage.getItem("pending") || "null");
  // Who has signed in under another name meanwhile does not answer for the first one.
  if (pending && pending.csrf === csrf) send(pending.path, pending.body);
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
