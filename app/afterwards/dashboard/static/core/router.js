/** Which page is shown. Every filter is in the URL, so that a link shows what its sender saw. */
import { signal } from "../vendor/preact.js";

const BASE = new URL(document.baseURI);

/** @typedef {{page: string, name: string|null, query: URLSearchParams, key: string}} Place */

/** @returns {Place} */
function read() {
  const { pathname, searchParams } = new URL(window.location.href);
  const path = pathname.startsWith(BASE.pathname) ? pathname.slice(BASE.pathname.length) : "";
  const [page, ...rest] = path.replace(/\/$/, "").split("/");
  const name = rest.length ? decoded(rest.join("/")) : null;
  return { page, name, query: searchParams, key: path };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const place = signal(read());

/**
 * A link to a page, relative to the base.
 *
 * @param {string} path such as `tasks` or `tasks/ID`
 * @param {Record<string, any>} [query] lists are repeated; null and "" are left out
 */
export function href(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") search.append(name, String(one));
    }
  }
  const text = search.toString();
  return `${path || "."}${text ? `?${text}` : ""}`;
}

/** @param {string} target as `href` gives it */
export function go(target, { replace = false } = {}) {
  const url = new URL(target, BASE);
  const isOtherPage = url.pathname !== window.location.pathname;
  if (!replace) keepScroll();
  history[replace ? "replaceState" : "pushState"](replace ? history.state : null, "", url);
  place.value = read();
  if (isOtherPage) arrive();
}

/** Changes the query of this page; what is null or empty leaves it. */
export function setQuery(changes, options) {
  const { key, query } = place.peek();
  const members = {};
  for (const name of new Set(query.keys())) members[name] = query.getAll(name);
  go(href(key, { ...members, ...changes }), options);
}

/** A screen reader begins where the page does. */
function arrive() {
  window.scrollTo(0, 0);
  requestAnimationFrame(() => document.querySelector("h1")?.focus({ preventScroll: true }));
}

const keepScroll = () => history.replaceState({ scroll: window.scrollY }, "");

/** Going back leads to where one was, as soon as the page is high enough again. */
function restoreScroll(top, tries = 20) {
  if (document.documentElement.scrollHeight - window.innerHeight >= top || tries === 0)
    window.scrollTo(0, top);
  else setTimeout(() => restoreScroll(top, tries - 1), 25);
}

history.scrollRestoration = "manual";
window.addEventListener("pagehide", keepScroll);
window.addEventListener("popstate", (event) => {
  place.value = read();
  requestAnimationFrame(() => restoreScroll(event.state?.scroll ?? 0));
});
if (history.state?.scroll) restoreScroll(history.state.scroll);

document.addEventListener("click", (event) => {
  if (
    event.defaultPrevented ||
    event.button ||
    event.ctrlKey ||
    event.metaKey ||
    event.shiftKey ||
    event.altKey
  )
    return;
  const link = /** @type {HTMLAnchorElement|null} */ (
    /** @type {Element} */ (event.target).closest?.("a[href]")
  );
  if (!link || link.target || link.hasAttribute("download")) return;
  if (!link.href.startsWith(BASE.href) || link.href.startsWith(`${BASE.href}assets/`)) return;
  event.preventDefault();
  go(link.href);
});
