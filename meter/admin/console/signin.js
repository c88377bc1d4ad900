// Asks for the token of the admin port, and tries it before the page goes on with it.

import { ask, forgetToken, keepToken } from "./api.js";
import { byId, say } from "./dom.js";

let next = () => {};

/** Show the form; `wrong` where a token is no longer taken. */
export function signIn(wrong, then) {
  next = then;
  forgetToken();
  byId("sign-in").hidden = false;
  say(byId("pulse-text"), "signed out");
  byId("pulse").dataset.state = "waiting";
  if (wrong) say(byId("sign-in-error"), "That token is not the one of this port.");
  byId("token").focus();
}

byId("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("token");
  say(byId("sign-in-error"), "");
  keepToken(field.value.trim());
  try {
    await ask("/api/budgets");
  } catch (error) {
    if (error.status !== 401) say(byId("sign-in-error"), "The port does not answer.");
    forgetToken();
    field.select();
    return;
  }
  field.value = "";
  next();
});
