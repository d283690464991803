/** Webhooks: where notices of finished tasks go, whether they arrive, and a second telling. */
import { html } from "../vendor/preact.js";
import { get, part, post } from "../core/api.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { go, href } from "../core/router.js";
import { Heading, Time, Verb } from "../ui/basics.js";
import { confirm } from "../ui/dialog.js";
import { replayDialog } from "../ui/replay.js";
import { Empty, Loaded } from "../ui/states.js";
import { Table } from "../ui/table.js";
import { said, toast } from "../ui/toasts.js";

const RELOAD_SECONDS = 10;
/** As many as there can be. */
const ALL = 100;

export default function Webhooks() {
  useStatsStream();
  const found = useResource("webhooks", (signal) => get("webhooks", { limit: ALL }, signal), {
    every: RELOAD_SECONDS,
  });
  document.title = "Webhooks · Afterwards";
  return html`<${Heading} title="Webhooks" /><${Loaded} of=${found}>${({ webhooks }) =>
    webhooks.length
      ? html`<${List} webhooks=${webhooks} reload=${found.reload} />`
      : html`<${Empty} icon="webhooks" title="No webhooks"><p>A webhook is a URL that is told of finished tasks.</p>
          <p>An administrator makes one: <code>afterwards webhooks put NAME URL</code></p><//>`}<//>`;
}

const COLUMNS = [
  { name: "name", title: "Webhook", cell: ({ name }) => html`<b>${name}</b>` },
  { name: "health", title: "State", kind: "wrap", cell: (webhook) => html`<${State} webhook=${webhook} />` },
  {
    name: "url",
    title: "URL",
    kind: "wide",
    cell: ({ url }) => html`<bdi class="mono" title=${url}>${url}</bdi>`,
  },
  { name: "told", title: "Told of", kind: "wrap", cell: (webhook) => toldOf(webhook) },
  {
    name: "deliveries",
    title: "Deliveries",
    cell: ({ name }) =>
      html`<a href=${href("tasks", { label: `webhook=${name}` })} aria-label="Deliveries of ${name}">Deliveries</a>`,
  },
];

function State({ webhook: { state, disabled_at: at, disabled_because: reason, failing_since: failing } }) {
  if (state === "disabled")
    return html`<span class="tag">disabled</span> <span class="dim"><bdi>${reason.replace(/^disabled /, "")}</bdi>, <${Time} at=${at} /></span>`;
  return failing ? html`<span class="loud">Fails since <${Time} at=${failing} /></span>` : "Enabled";
}

const ENDS = ["success", "failed", "cancelled"];

/** Such as `failed · email or report · tenant=acme`. */
const toldOf = ({ events, types, labels }) =>
  [
    events.length < ENDS.length ? ENDS.filter((end) => events.includes(end)).join(", ") : "all ends",
    types.join(" or "),
    ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
  ]
    .filter(Boolean)
    .join(" · ");

function List({ webhooks, reload }) {
  const verbs = {
    name: "verbs",
    title: html`<span class="unseen">Actions</span>`,
    kind: "number",
    cell: (webhook) => html`<${Verbs} webhook=${webhook} reload=${reload} />`,
  };
  return html`<${Table} label="Webhooks" columns=${[...COLUMNS, verbs]} rows=${webhooks} keyOf=${({ name }) => name} isCards />`;
}

function Verbs({ webhook: { name, state }, reload }) {
  const path = `webhooks/${part(name)}`;
  const test = async () => {
    const delivery = await said(() => post(`${path}/test`));
    if (!delivery) return;
    toast(`A test goes to ${name}.`);
    go(`tasks/${delivery.id}`);
  };
  const turn = async (verb) => {
    if (await said(() => post(`${path}/${verb}`))) toast(`${name} is ${verb}d.`);
    await reload();
  };
  if (state === "disabled")
    return html`<span class="verbs"><${Verb} icon="play" kind="small" label="Enable ${name}" onClick=${() => turn("enable")}>Enable<//></span>`;
  const disable = () =>
    confirm({
      title: `Disable ${name}?`,
      text: "It is told of nothing until it is enabled, and its waiting deliveries are cancelled. A replay tells it of what it has missed.",
      verb: "Disable",
      action: () => turn("disable"),
    });
  return html`<span class="verbs"><${Verb} icon="now" kind="small" label="Test ${name}" onClick=${test}>Test<//>
    <${Verb} icon="retry" kind="small" label="Replay ${name}" onClick=${() => replayDialog(name)}>Replay<//>
    <${Verb} icon="pause" kind="small quiet" label="Disable ${name}" onClick=${disable} /></span>`;
}
