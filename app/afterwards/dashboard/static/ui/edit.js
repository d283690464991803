/** A corrected payload and a new round of attempts, with what changes shown before. */
import { html, useState } from "../vendor/preact.js";
import { Problem, get, part, post } from "../core/api.js";
import { difference } from "../core/diff.js";
import { pretty } from "../core/format.js";
import { useResource } from "../core/resource.js";
import { Dialog, close, show } from "./dialog.js";
import { PayloadForm, parse } from "./form.js";
import { toast, wrong } from "./toasts.js";

export const editDialog = (task, onDone) => show(html`<${Edit} task=${task} onDone=${onDone} />`);

function Edit({ task, onDone }) {
  const before = pretty(task.payload);
  const [text, setText] = useState(before);
  const [refusals, setRefusals] = useState([]);
  const type = useResource(`type ${task.type}`, (signal) => get(`task-types/${part(task.type)}`, {}, signal));
  const { payload } = parse(text);
  const isChanged = payload !== null && pretty(payload) !== before;
  const send = async () => {
    try {
      onDone(await post(`tasks/${part(task.id)}/retry`, isChanged ? { payload } : {}));
      close();
      toast(
        isChanged
          ? "The task has a new payload, and waits for a new attempt."
          : "The task waits for a new attempt.",
      );
    } catch (error) {
      if (error instanceof Problem && error.errors.length) setRefusals(error.errors);
      else wrong(error);
    }
  };
  const footer = html`<button type="button" class="button" onClick=${close}>Leave it</button>
    <button type="button" class="button primary" disabled=${!payload} onClick=${send}>${isChanged ? "Save and retry" : "Retry as it is"}</button>`;
  return html`<${Dialog} title="Edit and retry" isWide footer=${footer}>
    <div class="edit"><div><${PayloadForm} key=${String(Boolean(type.data))} schema=${type.data?.payload_schema} text=${text} onChange=${setText} refusals=${refusals} /></div>
      <section aria-label="What changes"><h3>What changes</h3><${Difference} before=${before} after=${payload ? pretty(payload) : text} /></section></div><//>`;
}

const WORDS = { "-": "removed", "+": "added", " ": "" };

function Difference({ before, after }) {
  if (before === after) return html`<p class="dim">Nothing yet.</p>`;
  const lines = difference(before, after);
  if (!lines) return html`<p class="dim">The payload is too long to be compared here.</p>`;
  return html`<pre class="diff" tabindex="0">${lines.map(({ sign, line }, index) => html`<span key=${index} data-sign=${sign}><span class="unseen">${WORDS[sign]}</span>${sign} ${line}${"\n"}</span>`)}</pre>`;
}
