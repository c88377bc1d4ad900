// Elements are made here, and nowhere else: whatever comes from the API becomes text or an attribute's value,
// never markup, since clients choose the names of models and of tags.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. `data` becomes data attributes, `on` listeners, all else attributes; null leaves one out.
 * @param {string} tag
 * @param {Record<string, any>} [told]
 * @param {...(Child | Child[])} children
 */
export function h(tag, told = {}, ...children) {
  return filled(document.createElement(tag), told, children);
}

/** Make an element of a drawing. */
export function svg(tag, told = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), told, children);
}

function filled(element, { data = {}, on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const [name, value] of Object.entries(data)) element.dataset[name] = String(value ?? "");
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Give an element new children; what has the focus keeps it, told by `data-focus`. */
export function replace(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  element.replaceChildren(...children.flat(3).filter(Boolean));
  if (focused !== undefined) {
    [...element.querySelectorAll("[data-focus]")]
      .find((each) => each.dataset.focus === focused)
      ?.focus({ preventScroll: true });
  }
}

/** Set an element's text where it is another one, so that readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Whether somebody is marking text in an element, which should not change below them. */
export function isMarked(element) {
  const marked = document.getSelection();
  return Boolean(marked && !marked.isCollapsed && marked.anchorNode && element.contains(marked.anchorNode));
}

/** A number as it is shown, with the raw one for who compares, and all of it for who points at it. */
export function figure(raw, shown, title = "", told = {}) {
  return h("span", { ...told, class: `figure ${told.class ?? ""}`.trim(), title: title || null, data: { value: raw ?? "", ...told.data } }, shown);
}
