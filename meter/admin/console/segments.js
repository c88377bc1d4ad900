// A choice of a few, side by side: radio buttons, so that arrow keys and readers know them.

import { h, replace } from "./dom.js";

/**
 * Show a choice in an element, and say what is chosen.
 * @param {HTMLElement} element
 * @param {string} legend what is chosen, for readers
 * @param {[string, string][]} options values and titles
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function segments(element, legend, options, chosen, choose) {
  const name = element.id;
  const drawn = JSON.stringify([options, chosen]);
  if (element.dataset.drawn === drawn) return;
  element.dataset.drawn = drawn;
  const buttons = options.map(([value, title]) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name, value, checked: value === chosen, data: { focus: `${name} ${value}` }, on: { change: () => choose(value) } }),
      h("span", {}, title),
    ),
  );
  replace(element, h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, legend), buttons));
}
