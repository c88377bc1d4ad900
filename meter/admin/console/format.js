// How numbers, amounts and times are shown to people: short, with all digits in a title elsewhere.

export const UNKNOWN = "unknown";

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const rounded = (digits) => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const fixed = [0, 1, 2, 3, 4, 5, 6].map(rounded);
const compact = new Intl.NumberFormat("en", { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

/** All digits, in groups of three. */
export const exact = (value) => (value === null || value === undefined ? UNKNOWN : grouped.format(value));

/** A count: 9,999 in full, 12.3K from there on. */
export function count(value) {
  if (value === null || value === undefined) return "?";
  return Math.abs(value) < 10_000 ? grouped.format(Math.round(value)) : compact.format(value);
}

/** Things per second. */
export function rate(value) {
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  return value < 10 ? fixed[2].format(value) : value < 100 ? fixed[1].format(value) : count(value);
}

/** Decimals that amounts up to this one are shown with. */
export function places(most) {
  return most >= 10_000 ? 0 : most >= 10 ? 2 : 4;
}

/** An amount, in words where it is not known; what is smaller than its last digit is not shown as nothing. */
export function money(amount, digits = null) {
  if (amount === null || amount === undefined) return UNKNOWN;
  const value = Number(amount);
  const shown = digits ?? places(Math.abs(value) * 10);
  const least = 10 ** -shown;
  if (value === 0) return "$0";
  if (Math.abs(value) < least) return value > 0 ? `<$${fixed[shown].format(least)}` : `>-$${fixed[shown].format(least)}`;
  return (value < 0 ? "-$" : "$") + fixed[shown].format(Math.abs(value));
}

/** An amount on an axis: as few digits as tell it. */
export function moneyTick(value) {
  if (value === 0) return "$0";
  const digits = Math.max(0, Math.min(6, 1 - Math.floor(Math.log10(Math.abs(value)))));
  return value >= 10_000 ? `$${compact.format(value)}` : `$${grouped.format(Number(value.toFixed(digits)))}`;
}

/** An amount with all its digits. */
export function moneyExact(amount) {
  if (amount === null || amount === undefined) return "the cost is not known";
  return `${String(amount).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "")} USD`;
}

/** A share as per cent. */
export function share(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0%";
  if (value < 0.001) return "<0.1%";
  return `${fixed[value < 0.0995 ? 1 : 0].format(value * 100)}%`;
}

/** So many seconds. */
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 99.95) return `${fixed[value < 9.995 ? 2 : 1].format(value)} s`;
  return value < 7200 ? `${Math.floor(value / 60)} min ${Math.round(value % 60)} s` : `${fixed[1].format(value / 3600)} h`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dated = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const localDay = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const daily = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });

export const clockTime = (moment) => clock.format(new Date(moment));
export const minuteTime = (moment) => minute.format(new Date(moment));
export const dateTime = (moment) => dated.format(new Date(moment));
export const day = (moment) => localDay.format(new Date(moment));
export const utcDay = (moment) => daily.format(new Date(moment));
export const utc = (moment) => new Date(moment).toISOString().replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");

/** How long from now until a moment, roughly. */
export function until(moment) {
  const left = Math.max(0, (new Date(moment).getTime() - Date.now()) / 1000);
  if (left < 3600) return `${Math.ceil(left / 60)} min`;
  return left < 86_400 ? `${Math.round(left / 3600)} h` : `${Math.round(left / 86_400)} d`;
}

/** Bytes, for people. */
export function bytes(value) {
  const step = value < 1024 ? 0 : value < 1024 ** 2 ? 1 : 2;
  return `${step ? fixed[1].format(value / 1024 ** step) : value} ${["B", "KiB", "MiB"][step]}`;
}
