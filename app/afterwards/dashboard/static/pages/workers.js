/** Web workers and their hosts: where attempts run, with what room, and what runs there. */
import { html } from "../vendor/preact.js";
import { get } from "../core/api.js";
import { bytes, duration, number } from "../core/format.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { go } from "../core/router.js";
import { Heading, TaskLink, Time, TypeLink } from "../ui/basics.js";
import { Slots } from "../ui/slots.js";
import { Empty, Loaded } from "../ui/states.js";
import { Table } from "../ui/table.js";

const RELOAD_SECONDS = 3;

export default function Workers() {
  useStatsStream();
  const workers = useResource("workers", (signal) => get("workers", {}, signal), { every: RELOAD_SECONDS });
  document.title = "Workers · Afterwards";
  return html`<${Heading} title="Workers" /><${Loaded} of=${workers}>${({ workers: found, registry }) => html`
    ${found.length ? found.map((worker) => html`<${Worker} key=${worker.id} worker=${worker} />`) : html`<${Empty} icon="workers" title="No workers: tasks wait">They are kept, and run when a worker is back.<//>`}
    <${Registry} registry=${registry} />`}<//>`;
}

const Registry = ({ registry }) =>
  registry &&
  html`<section class="section" aria-labelledby="registry"><header><h2 id="registry">Registry</h2>
  <span class="dim">pid ${registry.pid} · up for ${duration(Math.floor(registry.uptime_seconds))} · ${bytes(registry.memory_bytes)}</span></header></section>`;

function Worker({ worker }) {
  const { pid, draining, generation, memory_bytes: memory, lease_seconds_left: lease } = worker;
  return html`<section class="section worker" aria-labelledby="worker-${pid}"><header><h2 id="worker-${pid}">Worker ${pid}</h2>${draining && html`<span class="tag">draining: takes no more tasks</span>`}
      <span class="dim">since <${Time} at=${worker.started_at} /> · generation ${generation} · ${bytes(memory)} · lease ${duration(Math.max(0, Math.round(lease)))}</span></header>
    <div class="halves"><div><${Slots} slots=${worker.slots} />${worker.hosts.length > 0 && html`<${Hosts} hosts=${worker.hosts} pid=${pid} />`}</div>
      <div><${Running} worker=${worker} /></div></div></section>`;
}

const HOST_WORDS = { running: "runs", leaving: "leaves", suspects: "has suspects" };

const HOSTS = [
  { name: "pid", title: "Host", kind: "mono", cell: ({ pid }) => pid },
  { name: "kind", title: "Kind", cell: ({ kind }) => kind },
  {
    name: "state",
    title: "State",
    cell: ({ state }) =>
      state === "running" ? HOST_WORDS[state] : html`<span class="tag">${HOST_WORDS[state]}</span>`,
  },
  {
    name: "attempts",
    title: "Attempts",
    kind: "number",
    cell: ({ attempts, stuck }) =>
      html`${number(attempts)}${stuck > 0 && html`, <b class="loud">${number(stuck)} stuck</b>`}`,
  },
  { name: "memory", title: "Memory", kind: "number", cell: ({ memory_bytes: memory }) => bytes(memory) },
  {
    name: "since",
    title: "Since",
    kind: "number",
    cell: ({ started_at: at }) => html`<${Time} at=${at} />`,
  },
];

const Hosts = ({ hosts, pid }) =>
  html`<div class="scroller"><${Table} label="Hosts of worker ${pid}" columns=${HOSTS} rows=${hosts} keyOf=${(host) => String(host.pid)} /></div>`;

const RUNNING = [
  { name: "task", title: "Running", cell: ({ task_id: id }) => html`<${TaskLink} id=${id} />` },
  { name: "type", title: "Type", cell: ({ type }) => html`<${TypeLink} name=${type} />` },
  { name: "attempt", title: "Attempt", kind: "number", cell: ({ attempt }) => number(attempt) },
  {
    name: "host",
    title: "Host",
    kind: "number mono",
    cell: ({ host_pid: pid }) => pid ?? html`<span class="faint">worker</span>`,
  },
  {
    name: "since",
    title: "Since",
    kind: "number",
    cell: ({ started_at: at }) => html`<${Time} at=${at} />`,
  },
];

function Running({ worker: { pid, running, running_total: total } }) {
  if (!running.length) return html`<p class="dim idle">Nothing runs here.</p>`;
  return html`<div class="scroller"><${Table} label="Tasks running in worker ${pid}" columns=${RUNNING} rows=${running} keyOf=${(one) => one.task_id} onOpen=${(one) => go(`tasks/${one.task_id}`)} /></div>
    ${total > running.length && html`<p class="dim">The ${number(running.length)} oldest of ${number(total)}.</p>`}`;
}
