/** Tasks that match a filter, and what can be done to them: to some, or to all that match. */
import { html, useEffect, useState } from "../vendor/preact.js";
import { get } from "../core/api.js";
import { conditions, filterOfUrl, forApi, NOTHING } from "../core/filter.js";
import { countOf, number, plural, shortNumber } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { useStatsPolling } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { setQuery } from "../core/router.js";
import { stats } from "../core/store.js";
import { useTaskList } from "../core/task_list.js";
import { cancel, retry, runNow } from "../ui/actions.js";
import { Heading, Icon, STATES, Time, UNFINISHED, Verb, WORDS } from "../ui/basics.js";
import { VERBS, bulk } from "../ui/bulk.js";
import { FilterBar } from "../ui/filter_bar.js";
import { Empty, Loaded } from "../ui/states.js";
import { submitDialog } from "../ui/later.js";
import { useSelection } from "../ui/table.js";
import { TaskTable } from "../ui/task_table.js";
import { said } from "../ui/toasts.js";

const MOST_IDS = 1_000;
const idsOf = (selection) => ({ ids: selection.keys.slice(0, MOST_IDS) });
const selected = (list, selection) => list.tasks.filter((task) => selection.has(task.id));
const ICONS = { retry: "retry", cancel: "close", run: "now", delete: "remove" };

export default function Tasks() {
  useStatsPolling();
  const filter = filterOfUrl();
  const list = useTaskList(filter);
  const selection = useSelection(list.key);
  document.title = "Tasks · Afterwards";
  useKeys({
    Escape: selection.clear,
    ...(selection.count && {
      r: () => bulk("retry", idsOf(selection), list.reload),
      c: () => bulk("cancel", idsOf(selection), list.reload, selected(list, selection)),
    }),
  });
  const one = {
    r: (task) => (task.status === "scheduled" ? runNow : retry)(task, list.reload),
    c: (task) => UNFINISHED.has(task.status) && cancel(task, list.reload),
  };
  return html`<${Heading} title="Tasks" aside=${html`<${Verb} icon="add" onClick=${() => submitDialog()}>Submit a task<//>`} />
    <${States} chosen=${filter.status} />
    <${FilterBar} filter=${filter} />
    <${Doing} filter=${filter} list=${list} selection=${selection} />
    <${Loaded} of=${list} rows=${12}>${({ tasks, next, scan }) => html`
      ${tasks.length > 0 && html`<${TaskTable} tasks=${tasks} selection=${selection} keys=${selection.count ? {} : one} />`}
      ${tasks.length === 0 && !next && html`<${Nothing} filter=${filter} />`}
      <${End} list=${list} next=${next} scan=${scan} />`}<//>`;
}

/** States as a row of filters, with how many tasks each has. */
const States = ({
  chosen,
}) => html`<div class="states" role="group" aria-label="States"><button type="button" aria-pressed=${String(!chosen.length)} onClick=${() => setQuery({ status: null, order: null })}>All</button>
  ${[...STATES.slice(0, 2), "retrying", ...STATES.slice(2)].map((state) => html`<${StateButton} key=${state} state=${state} chosen=${chosen} />`)}</div>`;

function StateButton({ state, chosen }) {
  const count = stats.value?.tasks[state];
  const isChosen = chosen.includes(state);
  const choose = (event) => {
    const others =
      event.ctrlKey || event.shiftKey || event.metaKey ? chosen.filter((one) => one !== state) : [];
    setQuery({ status: isChosen ? others : [...others, state], order: null });
  };
  return html`<button type="button" data-state=${state} aria-pressed=${String(isChosen)} title="Shift adds it to the others" onClick=${choose}>
    <${Icon} name=${state} />${WORDS[state]} ${count !== undefined && html`<b title=${number(count)}>${shortNumber(count)}</b>`}</button>`;
}

/** The line above the rows: what matches, what is new, what is selected. It has one height. */
function Doing({ filter, list, selection }) {
  const counted = useResource(`count ${list.key}`, (signal) => get("tasks/count", forApi(filter), signal), {
    every: 15,
  });
  const [isAll, setAll] = useState(false);
  useEffect(() => setAll(false), [list.key, selection.count]);
  const total = counted.data ? countOf(counted.data) : "…";
  const done = () => {
    selection.clear();
    list.reload();
    counted.reload();
  };
  if (!selection.count) {
    return html`<div class="doing"><span role="status">${counted.data ? `${total} match` : "…"}</span>
      ${list.news.count > 0 && html`<button type="button" class="button small news" onClick=${list.news.show}>${list.news.word} new · show</button>`}
      ${!list.tasks.length ? null : html`<button type="button" class="button quiet small" onClick=${() => selection.all(list.tasks.map((task) => task.id))}>Select</button>`}</div>`;
  }
  const target = isAll ? forApi(filter) : idsOf(selection);
  return html`<div class="doing chosen" role="toolbar" aria-label="What to do with the selected tasks"><b role="status">${isAll ? `All ${total} that match` : `${plural(selection.count, "task")} selected`}</b>
    ${Object.entries(VERBS).map(([verb, { word }]) => html`<${Verb} key=${verb} icon=${ICONS[verb]} kind="small" onClick=${() => bulk(verb, target, done, isAll ? [] : selected(list, selection))}>${word}<//>`)}
    ${!isAll && (counted.data?.count ?? 0) > selection.count && html`<button type="button" class="button quiet small" onClick=${() => setAll(true)}>Select all ${total} that match</button>`}
    <button type="button" class="button quiet small" onClick=${selection.clear}>Clear</button></div>`;
}

/** Says which condition leaves nothing, as far as that can be told, and takes it away with a click. */
function Nothing({ filter }) {
  const set = conditions(filter);
  if (!set.length) {
    return html`<${Empty} icon="tasks" title="No tasks yet"><p>Tasks show here when an application submits them.</p><p><${Verb} icon="add" kind="primary" onClick=${() => submitDialog()}>Submit a task<//></p><//>`;
  }
  return html`<${Empty} icon="search" title="No task matches"><p>${set.length === 1 ? "This condition excludes everything:" : "Together these conditions exclude everything. Take one away:"}</p>
    <p class="chips">${set.map(({ word, change }) => html`<button key=${word} type="button" class="button small" onClick=${() => setQuery(change)}><${Icon} name="close" />${word}</button>`)}
      ${set.length > 1 && html`<button type="button" class="button quiet small" onClick=${() => setQuery(NOTHING)}>Take all away</button>`}</p><//>`;
}

function End({ list, next, scan }) {
  const searched =
    scan &&
    html`<span class="dim" role="status">Looked through ${number(scan.examined)} tasks${scan.complete ? ", which is all" : html`, back to <${Time} at=${scan.reached} />`}.</span>`;
  if (!next && !scan) return null;
  return html`<div class="end">${searched}
    ${next && html`<button type="button" class="button" disabled=${list.isLoadingMore} onClick=${() => said(list.loadMore)}>${scan && !scan.complete ? "Look further back" : "Show more"}</button>`}</div>`;
}
