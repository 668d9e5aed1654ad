// Talking to the server, and to the user about it.

export const toast = document.getElementById("toast");

export const csrf = document.querySelector('meta[name="csrf"]').content;

export async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.error || `the desk answered ${response.status}`), { status: response.status });
}

// A name for what is sent, so that the same one sent twice is one label.
export function submission() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

let hiding = 0;

export function say(text, undo, wrong = false) {
  toast.firstElementChild.textContent = text;
  toast.querySelector("button").hidden = !undo;
  toast.classList.toggle("wrong", wrong);
  toast.classList.add("shown");
  clearTimeout(hiding);
  if (!wrong) hiding = setTimeout(() => toast.classList.remove("shown"), 3500);
}
