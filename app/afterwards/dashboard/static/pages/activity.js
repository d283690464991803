/** The log of what was done by hand: by whom, to how many, and what came of it. */
import { html, useState } from "../vendor/preact.js";
import { get } from "../core/api.js";
import { number } from "../core/format.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { href } from "../core/router.js";
import { hiddenPages, session } from "../core/store.js";
import { Heading, TaskLink, Time, TypeLink } from "../ui/basics.js";
import { Empty, Loaded } from "../ui/states.js";
import { Table } from "../ui/table.js";
import { wrong } from "../ui/toasts.js";

const RELOAD_SECONDS = 10;
const PAGE = 50;

export default function Activity() {
  useStatsStream();
  const [older, setOlder] = useState(/** @type {{entries: any[], next: string|null}|null} */ (null));
  const isAudit = session.value?.key?.role === "admin";
  const path = isAudit ? "audit" : "activity";
  // Once older ones are shown, newer ones would move them.
  const first = useResource(path, (signal) => get(path, { limit: PAGE }, signal), {
    every: older ? 0 : RELOAD_SECONDS,
  });
  document.title = "Activity · Afterwards";
  const next = older ? older.next : first.data?.next;
  const more = () =>
    get(path, { limit: PAGE, cursor: next }).then(
      (page) => setOlder({ entries: [...(older?.entries ?? []), ...page.entries], next: page.next }),
      wrong,
    );
  return html`<${Heading} title="Activity" /><${Loaded} of=${first}>${({ entries }) => {
    const rows = [...entries, ...(older?.entries ?? [])];
    if (!rows.length)
      return html`<${Empty} icon="activity" title="Nothing was done by hand yet">What people cancel, retry, delete, pause or schedule is written down here.<//>`;
    return html`<${Table} label="Activity, newest first" columns=${isAudit ? AUDITED : COLUMNS} rows=${rows.map((entry, index) => ({ ...entry, key: `${entry.request_id} ${entry.at} ${index}` }))} keyOf=${(entry) => entry.key} isCards />
      ${next && html`<p class="end"><button type="button" class="button" onClick=${more}>Show older</button></p>`}`;
  }}<//>`;
}

const COLUMNS = [
  { name: "at", title: "When", cell: ({ at }) => html`<${Time} at=${at} />` },
  {
    name: "actor",
    title: "Who",
    cell: ({ actor }) =>
      actor
        ? html`<bdi>${actor}</bdi>`
        : html`<span class="faint" title="No key had to be shown: the service cannot tell who asked">anyone</span>`,
  },
  { name: "verb", title: "What", cell: ({ verb }) => html`<b>${verb}</b>` },
  { name: "object", title: "Of", cell: ({ object }) => object },
  { name: "target", title: "Which", kind: "wide", cell: (entry) => html`<${Which} entry=${entry} />` },
  { name: "count", title: "How many", kind: "number", cell: ({ count }) => number(count) },
  {
    name: "outcome",
    title: "Outcome",
    cell: ({ outcome, detail }) =>
      html`<span class=${outcome === "done" ? "dim" : "loud"} title=${detail ?? ""}>${outcome}</span>`,
  },
  {
    name: "request",
    title: "Request",
    kind: "mono",
    cell: ({ request_id: id }) => html`<span class="faint">${id}</span>`,
  },
];

const AUDITED = [
  ...COLUMNS,
  {
    name: "key",
    title: "Key",
    kind: "mono",
    cell: ({ key_id: id }) => html`<span class="faint">${id ?? "–"}</span>`,
  },
  {
    name: "address",
    title: "Address",
    kind: "mono",
    cell: ({ address }) => html`<span class="faint">${address ?? "–"}</span>`,
  },
];

function Which({ entry: { object, name } }) {
  if (object === "task") return html`<${TaskLink} id=${name} full />`;
  if (object === "task type") return html`<${TypeLink} name=${name} />`;
  if (object === "webhook" && !hiddenPages.value.has("webhooks"))
    return html`<a href=${href("webhooks")}>${name}</a>`;
  if (object === "schedule") return html`<a href=${href("schedules", { name })}>${name}</a>`;
  return html`<bdi class="mono dim" title=${name}>${name}</bdi>`;
}
