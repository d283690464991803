/** Telling a webhook once more of what finished in a span of time. */
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { call, part } from "../core/api.js";
import { local, number, plural } from "../core/format.js";
import { Dialog, close, show } from "./dialog.js";
import { Field } from "./form.js";
import { toast, wrong } from "./toasts.js";

const DAY = 86_400_000;

/** @param {string} name of the webhook */
export const replayDialog = (name) => show(html`<${Replay} name=${name} />`);

/** The time that a field for a time of this zone shows. */
const fieldOf = (milliseconds) => local(milliseconds).slice(0, 16).replace(" ", "T");

/** @param {string} field @returns {string|undefined} undefined: it is empty, or no time */
const timeOf = (field) => (field ? new Date(field).toISOString() : undefined);

function Replay({ name }) {
  const [span, setSpan] = useState({ since: fieldOf(Date.now() - DAY), until: "" });
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const wasLeft = useRef(false);
  useEffect(() => () => void (wasLeft.current = true), []);
  const set = (member) => (event) => setSpan({ ...span, [member]: event.target.value });
  const replay = async () => {
    setBusy(true);
    setError("");
    try {
      const body = { since: timeOf(span.since), until: timeOf(span.until) };
      const answer = await call("POST", `webhooks/${part(name)}/replay`, { body, isLong: true });
      if (!wasLeft.current) close();
      report(name, answer);
    } catch (refusal) {
      if (wasLeft.current) wrong(refusal);
      setError(refusal.message);
    }
    setBusy(false);
  };
  return html`<${Dialog} title=${`Replay ${name}`} footer=${html`<button type="button" class="button" onClick=${close}>Leave it</button>
    <button type="button" class="button primary" disabled=${isBusy || !span.since} onClick=${replay}>${isBusy ? "Replaying…" : "Replay"}</button>`}>
    <p>The webhook is told once more of each task that fits it and finished in this time. A notice has the <code>webhook-id</code> that it had.</p>
    <${Field} id="replay-since" label="Finished since" error=${error}><input id="replay-since" type="datetime-local" value=${span.since} onInput=${set("since")} /><//>
    <${Field} id="replay-until" label="And before" hint="Empty: until now."><input id="replay-until" type="datetime-local" value=${span.until} aria-describedby="replay-until-hint" onInput=${set("until")} /><//>
    ${isBusy && html`<p role="status">Many tasks take a while. The replay goes on if you leave it.</p>`}<//>`;
}

function report(name, { matched, replayed, skipped, interrupted }) {
  const parts = [`${name} is told of ${number(replayed)} of ${plural(matched, "task")}`];
  if (skipped) parts.push(`${number(skipped)} skipped: they were retried or deleted meanwhile`);
  if (interrupted) parts.push(interrupted);
  toast(`${parts.join(", ")}.`, { kind: interrupted ? "wrong" : "done" });
}
