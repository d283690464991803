/** Places for attempts, by where they run: taken, free, and those that something blocks. */
import { html } from "../vendor/preact.js";
import { number } from "../core/format.js";

const KINDS = [
  ["busy", "processing"],
  ["stuck", "failed"],
  ["free", "free"],
];

export const Slots = ({ slots }) =>
  html`<ul class="slots">${Object.entries(slots).map(([kind, numbers]) => html`<${Bar} key=${kind} kind=${kind} numbers=${numbers} />`)}</ul>`;

function Bar({ kind, numbers }) {
  const total = KINDS.reduce((sum, [name]) => sum + (numbers[name] ?? 0), 0);
  const words = KINDS.filter(([name]) => numbers[name] || name !== "stuck").map(
    ([name]) => `${number(numbers[name] ?? 0)} ${name}`,
  );
  const isFull = total > 0 && !numbers.free;
  return html`<li><span class="kind">${kind}</span>
    <span class="bar" aria-hidden="true">${KINDS.map(([name, state]) => html`<i key=${name} data-state=${state} style=${{ width: `${total ? ((numbers[name] ?? 0) / total) * 100 : 0}%` }}></i>`)}</span>
    <span class=${numbers.stuck ? "loud" : "dim"}>${words.join(", ")}${isFull && html`<b> · full</b>`}</span></li>`;
}
