/** Stand-ins for content that is not there: loading, empty, gone, wrong. */
import { html } from "../vendor/preact.js";
import { Unreachable } from "../core/api.js";
import { href } from "../core/router.js";
import { outage } from "../core/store.js";
import { Icon } from "./basics.js";

/**
 * Shows what is loaded, and what stands in its place otherwise.
 *
 * @param {{of: import("../core/resource.js").Resource<any>, rows?: number, isPart?: boolean, children: (data: any) => any}} _
 * isPart: the rest of the page says more than a refusal of this
 */
export function Loaded({ of: resource, rows = 6, isPart = false, children }) {
  const { data, error, isStale, reload } = resource;
  if (data !== undefined)
    return html`<div class=${isStale ? "stale" : ""} aria-busy=${String(isStale)}>${children(data)}</div>`;
  if (error && !(error instanceof Unreachable) && isPart)
    return html`<p class="dim refused">Not shown: ${error.message}</p>`;
  if (error && !(error instanceof Unreachable)) return html`<${Refused} error=${error} reload=${reload} />`;
  if (outage.value && isPart) return html`<${Skeleton} rows=${rows} />`;
  if (outage.value)
    return html`<${Empty} icon="errors" title="Nothing is loaded yet">This page fills when the service answers.<//>`;
  return html`<${Skeleton} rows=${rows} />`;
}

/** Has the height that the rows will have, so that nothing jumps. */
export const Skeleton = ({ rows }) =>
  html`<div class="skeleton" role="status" aria-label="Loading">${Array.from({ length: rows }, (_, row) => html`<i key=${row}></i>`)}</div>`;

export const Empty = ({ icon, title, children }) =>
  html`<div class="empty"><${Icon} name=${icon ?? "tasks"} /><h2>${title}</h2><div>${children}</div></div>`;

export const NoTypes = () =>
  html`<${Empty} icon="types" title="No task types">The setting AFTERWARDS_TASK_MODULES names the modules that have them.<//>`;

const SAID = {
  404: ["Not here", "There is nothing under this name."],
  410: ["Deleted", "It was here. It was deleted, by hand or because its time to be kept was over."],
  401: ["A key is needed", "This service shows this only to those who are signed in."],
  403: ["Not allowed", "This key may not see this."],
};

/** A refusal; that something is gone and that it never was are two things. */
export function Refused({ error, reload }) {
  const [title, text] = SAID[error.status] ?? ["It did not work", "The service refused this."];
  return html`<div class="empty problem" role="alert"><${Icon} name=${error.status === 401 ? "lock" : "errors"} />
    <h2>${title}</h2><p>${text}</p><p class="mono">${error.message}</p>
    ${error.requestId && html`<p class="faint">Request <span class="mono">${error.requestId}</span> in the service's log.</p>`}
    <p><button type="button" class="button" onClick=${reload}>Try again</button> <a class="button quiet" href=${href("")}>Overview</a></p></div>`;
}
