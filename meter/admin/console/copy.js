// A button that copies a text, and says that it did.

import { h } from "./dom.js";

const SAID_MS = 1600;

/** @param {string} text @param {string} what is copied, for readers */
export function copyButton(text, what, focus) {
  const button = h("button", { type: "button", class: "plain copy", "aria-label": `Copy ${what}`, data: { focus } }, "Copy");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    button.textContent = (await copied(text)) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy"), SAID_MS);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByHand(text);  // the clipboard is for HTTPS and localhost alone
  }
}

function copiedByHand(text) {
  const field = h("textarea", { class: "unseen", "aria-hidden": "true" });
  field.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
