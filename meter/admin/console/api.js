// Questions to the admin port this page came from, with the token where one is needed.

import { parsed } from "./amounts.js";

const KEPT = "meter.token";
const PATIENCE_MS = 20_000;

/** The port answered, but not with what was asked for. */
export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** Nothing answered at all. */
export class Silence extends Error {}

let refused = () => {};

/** Say what is to be done when the port wants a token, or another one. */
export function onRefused(what) {
  refused = what;
}

export const hasToken = () => sessionStorage.getItem(KEPT) !== null;
export const keepToken = (token) => sessionStorage.setItem(KEPT, token);
export const forgetToken = () => sessionStorage.removeItem(KEPT);

/**
 * Ask, and return what the JSON of the answer says; amounts are texts.
 * @param {string} path
 * @param {string[][]} [parameters] names and values
 */
export async function ask(path, parameters = []) {
  const query = String(new URLSearchParams(parameters));
  const { ok, status, text } = await answered(query ? `${path}?${query}` : path);
  if (ok) return parsed(text);
  if (status === 401) refused();
  throw new Refusal(status, sentence(text) ?? `the port answered with ${status}`);
}

async function answered(address) {
  const token = sessionStorage.getItem(KEPT);
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  try {
    const answer = await fetch(address, { cache: "no-store", headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    return { ok: answer.ok, status: answer.status, text: await answer.text() };
  } catch (error) {
    throw new Silence(error.message);
  }
}

function sentence(text) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return null;
  }
}
