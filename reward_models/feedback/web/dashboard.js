// Fetches the figures anew while somebody looks at them.
"use strict";

const figures = document.getElementById("figures");
let shown = "";

setInterval(async () => {
  if (document.hidden) return;
  try {
    const response = await fetch("/dashboard/figures");
    const html = await response.text();
    if (response.ok && html !== shown) {
      shown = html;
      figures.innerHTML = html;
    }
    document.body.classList.toggle("offline", !response.ok);
  } catch {
    document.body.classList.add("offline");
  }
}, 2000);
