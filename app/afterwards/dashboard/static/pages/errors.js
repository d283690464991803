/** Failed tasks by the reason they failed for; a reason is retried or deleted as one. */
import { html } from "../vendor/preact.js";
import { get } from "../core/api.js";
import { number } from "../core/format.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { go, href, place, setQuery } from "../core/router.js";
import { stats } from "../core/store.js";
import { Choice, Heading } from "../ui/basics.js";
import { Groups, openGroup } from "../ui/groups.js";
import { Empty, Loaded } from "../ui/states.js";

const RELOAD_SECONDS = 10;
const ORDERS = [
  ["count", "Most first"],
  ["latest", "Latest first"],
];

export default function Errors() {
  useStatsStream();
  const type = place.value.query.get("type") ?? "";
  const order = place.value.query.get("order") === "latest" ? "latest" : "count";
  const errors = useResource(`errors ${type} ${order}`, (signal) => get("errors", { type, order }, signal), {
    every: RELOAD_SECONDS,
  });
  document.title = "Errors · Afterwards";
  const known = [
    ...new Set([...Object.keys(stats.value?.by_type ?? {}), ...(type ? [type] : [])]),
  ].toSorted();
  const aside = html`<label><span class="unseen">Type</span><select value=${type} onChange=${(event) => setQuery({ type: event.target.value })}>
      <option value="">Any type</option>${known.map((name) => html`<option key=${name} value=${name} selected=${name === type}>${name}</option>`)}</select></label>
    <${Choice} label="Order" options=${ORDERS} value=${order} onChange=${(name) => setQuery({ order: name === "count" ? null : name })} />`;
  return html`<${Heading} title="Errors" aside=${aside} />
    <${Loaded} of=${errors} rows=${5}>${(data) => html`<${Found} data=${data} reload=${errors.reload} type=${type} />`}<//>`;
}

function Found({ data: { groups, ungrouped }, reload, type }) {
  if (!groups.length && !ungrouped) {
    return html`<${Empty} icon="success" title=${type ? `No ${type} task is failed` : "No task is failed"}>
      ${type ? html`<button type="button" class="button small" onClick=${() => setQuery({ type: null })}>Show all types</button>` : "Tasks that use up their attempts show here, by their reason."}<//>`;
  }
  const total = groups.reduce((sum, group) => sum + group.count, ungrouped);
  return html`<p class="dim lead">${number(total)} failed tasks for ${number(groups.length)} ${groups.length === 1 ? "reason" : "reasons"}.</p>
    <${Groups} groups=${groups} reload=${reload} onOpen=${openGroup(go)} isFull />
    ${ungrouped > 0 && html`<p class="end"><a href=${href("tasks", { status: "failed" })}>${number(ungrouped)} more failed tasks are in no group</a></p>`}`;
}
