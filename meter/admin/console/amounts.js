// Amounts of USD with all their digits: texts as the API has them, added as whole numbers of 10^-12 USD.
// As floating point they would differ from the ledger's in the last digits.

const PLACES = 12;

/** How many 10^-12 USD an amount is. @param {string} amount */
export function pico(amount) {
  const found = /^(-?)(\d+)(?:\.(\d*))?$/.exec(amount);
  if (!found) return BigInt(Math.round(Number(amount) * 10 ** PLACES));
  const [, sign, whole, part = ""] = found;
  const all = BigInt(whole + part.slice(0, PLACES).padEnd(PLACES, "0"));
  return sign ? -all : all;
}

/** The amount that so many 10^-12 USD are, without needless zeros. @param {bigint} count */
export function amount(count) {
  const digits = String(count < 0n ? -count : count).padStart(PLACES + 1, "0");
  const part = digits.slice(-PLACES).replace(/0+$/, "");
  return (count < 0n ? "-" : "") + digits.slice(0, -PLACES) + (part && `.${part}`);
}

/** JSON whose members `..._usd` become texts: `JSON.parse` would round them. */
export function parsed(text) {
  return JSON.parse(text.replace(/("\w*_usd":)(-?\d[\d.eE+-]*)/g, '$1"$2"'));
}
