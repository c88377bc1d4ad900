// Light, dark, or as the system has it; kept in this browser.

import { byId } from "./dom.js";
import { segments } from "./segments.js";

const KEPT = "meter.theme";
const THEMES = [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]];
const system = matchMedia("(prefers-color-scheme: dark)");
const watchers = [];

/** Call `watcher` when colours are others. */
export function onTheme(watcher) {
  watchers.push(watcher);
}

/** A colour, or whatever else a custom property of the page says. */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function wear(theme) {
  document.documentElement.dataset.theme = theme === "auto" ? (system.matches ? "dark" : "light") : theme;
  segments(byId("theme"), "Theme", THEMES, theme, (chosen) => {
    localStorage.setItem(KEPT, chosen);
    wear(chosen);
  });
  for (const watcher of watchers) watcher();
}

function kept() {
  const found = localStorage.getItem(KEPT);
  return THEMES.some(([name]) => name === found) ? found : "auto";
}

export function startTheme() {
  wear(kept());
  system.addEventListener("change", () => wear(kept()));
}
