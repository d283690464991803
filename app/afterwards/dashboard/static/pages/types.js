/** All task types, with tasks or without. */
import { html } from "../vendor/preact.js";
import { get } from "../core/api.js";
import { remember } from "../core/drain.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { Heading } from "../ui/basics.js";
import { Loaded, NoTypes, Skeleton } from "../ui/states.js";
import { TypeTable } from "../ui/type_table.js";
import { stats } from "../core/store.js";

export default function Types() {
  useStatsStream(remember);
  const types = useResource("task types", (signal) => get("task-types", {}, signal));
  document.title = "Types · Afterwards";
  return html`<${Heading} title="Types" /><${Loaded} of=${types}>${({ task_types: known }) => {
    if (!known.length) return html`<${NoTypes} />`;
    if (!stats.value) return html`<${Skeleton} rows=${known.length} />`;
    const names = new Set([...known.map(({ name }) => name), ...Object.keys(stats.value.by_type)]);
    return html`<${TypeTable} names=${[...names]} />`;
  }}<//>`;
}
