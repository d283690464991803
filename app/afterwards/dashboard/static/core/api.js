/** The HTTP API: requests, problem documents, and what its refusals mean for the pages. */
import { noteContact, noteOutage } from "./outage.js";
import { readOnly, refusals, session } from "./store.js";

/** The API's address: the dashboard lies one level below, under any prefix. */
export const API = new URL("../", document.baseURI);

const TIMEOUT_MILLISECONDS = 20_000;
const AWAY = new Set([502, 503, 504]);
const FORBIDDEN = new Set([401, 403, 405]);
/** The path of what one is, which no refusal of its own changes. */
export const SESSION = "session";

/** A refusal, as the service explains it (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {any} document */
  constructor(status, document) {
    super(document?.detail || document?.title || `The service answered ${status}`);
    this.status = status;
    /** @type {{pointer?: string, message: string}[]} */
    this.errors = document?.errors ?? [];
    this.requestId = document?.request_id ?? null;
  }
}

/** No answer, or one that says that the service is away. */
export class Unreachable extends Error {}

/**
 * @param {string} path of the API, without a slash to begin with
 * @param {Record<string, any>} [query] lists are repeated; null and "" are left out
 */
export function apiUrl(path, query = {}) {
  const url = new URL(path, API);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, String(one));
    }
  }
  return url;
}

export const PROBE = apiUrl("readyz");

/**
 * @param {string} method @param {string} path
 * @param {{query?: Record<string, any>, body?: unknown, signal?: AbortSignal, isLong?: boolean}} [options]
 * isLong: it may take as long as it takes, and no time without an answer is an outage
 * @returns {Promise<any>} the JSON of the answer; null if it has none
 * @throws {Problem|Unreachable}
 */
export async function call(method, path, { query, body, signal, isLong = false } = {}) {
  const limits = [signal, isLong ? null : AbortSignal.timeout(TIMEOUT_MILLISECONDS)];
  const answer = await reach(apiUrl(path, query), {
    method,
    signal: AbortSignal.any(limits.filter(Boolean)),
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const document = await parsed(answer);
  if (answer.ok) return document;
  const problem = new Problem(answer.status, document);
  if (path !== SESSION) noteRefusal(method, problem);
  throw problem;
}

function noteRefusal(method, { status, message }) {
  if (status === 401) refusals.value += 1;
  // A key that may not do one thing may do others; what stands before the service forbids all.
  const isOfKey = session.peek()?.key && status !== 405;
  if (method !== "GET" && FORBIDDEN.has(status) && !isOfKey) readOnly.value = message;
}

async function reach(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (options.signal.aborted && error.name === "AbortError") throw error;
    throw away("The service does not answer");
  }
  if (AWAY.has(answer.status)) {
    const document = await parsed(answer);
    throw away(document?.detail ?? "The service is away");
  }
  noteContact();
  return answer;
}

function away(detail) {
  noteOutage(detail, PROBE);
  return new Unreachable(detail);
}

/** @param {Response} answer */
async function parsed(answer) {
  if (!/\bjson\b/.test(answer.headers.get("Content-Type") ?? "")) return null;
  return answer.json().catch(() => null);
}

export const get = (path, query, signal) => call("GET", path, { query, signal });
export const post = (path, body) => call("POST", path, { body });
export const put = (path, body) => call("PUT", path, { body });
export const remove = (path) => call("DELETE", path);

/** A name as a part of a path. */
export const part = encodeURIComponent;
