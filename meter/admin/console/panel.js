// A part of the page that asks something now and then, shows the answer, or says in a sentence why it cannot.

import { Refusal, Silence } from "./api.js";
import { byId, say } from "./dom.js";
import { poll } from "./poll.js";

const EVERY_S = 10;
const LEDGER_OFF = "The ledger is off, so there is nothing to add up. Set ledger.url in the settings to keep what passes.";

/**
 * Show in the section `id` what `load` returns, by `draw`.
 * @param {string} id
 * @param {() => Promise<any>} load
 * @param {(found: any, body: HTMLElement, section: HTMLElement) => void} draw
 */
export function panel(id, load, draw, every = EVERY_S) {
  const section = byId(id);
  const note = section.querySelector(".note");
  const body = section.querySelector(".body");
  let last;

  function show(sentence) {
    say(note, sentence);
    note.hidden = !sentence;
    body.hidden = Boolean(sentence);
  }

  const polled = poll(async () => {
    try {
      last = await load();
      show("");
      draw(last, body, section);
    } catch (error) {
      // Where nothing answers at all, what was there last stays: a notice above says since when.
      if (error instanceof Refusal) show(reason(error));
      else if (!(error instanceof Silence)) throw error;
    } finally {
      section.classList.remove("busy");
    }
  }, every);

  return {
    ...polled,
    /** Ask again since something else is looked at. */
    turn() {
      section.classList.add("busy");
      return polled.now();
    },
    /** Show again what was answered last, such as in other colours. */
    redraw() {
      if (last !== undefined && !body.hidden) draw(last, body, section);
    },
  };
}

function reason(refusal) {
  if (refusal.message === "the ledger is off") return LEDGER_OFF;
  return `${refusal.message[0].toUpperCase()}${refusal.message.slice(1)}.`;
}
