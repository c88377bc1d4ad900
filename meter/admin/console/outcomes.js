// How an exchange ended: a sign, a word and a tone each, so that colour is never alone.

import { h } from "./dom.js";

const OUTCOMES = {
  ok: ["✓", "ok", "good"],
  client_error: ["✕", "client error", "warn"],
  upstream_error: ["✕", "upstream error", "bad"],
  stream_error: ["✕", "stream error", "bad"],
  truncated: ["✂", "truncated", "bad"],
  client_closed: ["←", "client left", "calm"],
  timeout: ["◷", "timeout", "bad"],
  unreachable: ["▼", "unreachable", "bad"],
  rejected: ["⊘", "rejected", "warn"],
};

/** An outcome as people see it. */
export function outcome(name, about = "") {
  const [sign, word, tone] = OUTCOMES[name] ?? ["?", name, "calm"];
  return h("span", { class: `outcome ${tone}`, title: about || null }, h("span", { "aria-hidden": "true", class: "sign" }, sign), word);
}
