/** The filter of a list of tasks: in the URL, and as the API takes it. */
import { shortId } from "./format.js";
import { place } from "./router.js";

const HOURS = { "1h": 1, "24h": 24, "7d": 168, "30d": 720 };
export const AGES = [
  ["", "Any time"],
  ["1h", "Last hour"],
  ["24h", "Last 24 h"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
];

/** True if it has times of its own, and no age. @param {{after: string, before: string}} filter */
export const hasOwnTimes = ({ after, before }) => Boolean(before) || Boolean(after && !(after in HOURS));
const ORDERS = ["created", "due", "finished"];
const REPEATED = ["status", "type", "label"];
/** What ties a task to others, and whether its value is an id. @type {[name: string, word: string, isId: boolean][]} */
const TIES = [
  ["parent", "parent", true],
  ["group", "group", true],
  ["concurrency_key", "concurrency key", false],
  ["unique_key", "unique key", false],
];

/** @typedef {{status: string[], type: string[], label: string[], parent: string, group: string, concurrency_key: string, unique_key: string, q: string, error: string, after: string, before: string, order: string}} Filter */

/** @returns {Filter} what the URL says */
export function filterOfUrl(query = place.value.query) {
  const one = (name) => query.get(name) ?? "";
  const tied = /** @type {any} */ (Object.fromEntries(TIES.map(([name]) => [name, one(name)])));
  const [status, type, label] = REPEATED.map((name) => query.getAll(name).filter(Boolean));
  const order = ORDERS.includes(one("order"))
    ? one("order")
    : status.length === 1 && status[0] === "scheduled"
      ? "due"
      : "created";
  return {
    status,
    type,
    label,
    ...tied,
    q: one("q").trim(),
    error: one("error"),
    after: one("after"),
    before: one("before"),
    order,
  };
}

/** A time of the URL: an age such as `24h`, a date of this zone, or a time as RFC 3339 has it. */
function timeOf(text) {
  if (!text) return undefined;
  if (text in HOURS)
    return new Date(Math.floor(Date.now() / 60_000) * 60_000 - HOURS[text] * 3_600_000).toISOString();
  const milliseconds = Date.parse(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00` : text);
  return Number.isNaN(milliseconds) ? undefined : new Date(milliseconds).toISOString();
}

/** The members that are set, as lists, counts and bulk verbs take them. @param {Filter} filter */
export function forApi({ order: _, after, before, ...others }) {
  const members = {
    ...others,
    created_after: timeOf(after),
    created_before: timeOf(before),
  };
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined && value.length),
  );
}

/** The conditions on what ties tasks to others, in words. @param {Record<string, any>} filter */
export const ties = (filter) =>
  TIES.filter(([name]) => filter[name]).map(([name, word, isId]) => ({
    name,
    word: `${word}: ${isId ? shortId(filter[name]) : filter[name]}`,
  }));

/** Each condition in words, and what its removal changes in the URL. @param {Filter} filter */
export function conditions(filter) {
  const found = [];
  for (const name of REPEATED) {
    for (const value of filter[name])
      found.push({
        name,
        word: `${name}: ${value}`,
        change: { [name]: filter[name].filter((one) => one !== value) },
      });
  }
  for (const tie of ties(filter)) found.push({ ...tie, change: { [tie.name]: null } });
  const ages = Object.fromEntries(AGES);
  if (filter.q) found.push({ name: "q", word: `search: ${filter.q}`, change: { q: null } });
  if (filter.error)
    found.push({
      name: "error",
      word: `error group: ${filter.error.slice(0, 8)}`,
      change: { error: null },
    });
  if (filter.after)
    found.push({
      name: "after",
      word: ages[filter.after] ?? `after: ${filter.after}`,
      change: { after: null },
    });
  if (filter.before)
    found.push({ name: "before", word: `before: ${filter.before}`, change: { before: null } });
  return found;
}

export const NOTHING = {
  status: null,
  type: null,
  label: null,
  parent: null,
  group: null,
  concurrency_key: null,
  unique_key: null,
  q: null,
  error: null,
  after: null,
  before: null,
  order: null,
};
