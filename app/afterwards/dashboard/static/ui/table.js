/** A table one goes through by keyboard: a cursor row, and a selection where rows can be chosen. */
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { useKeys } from "../core/keys.js";

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {string} title
 * @property {(row: any) => any} cell
 * @property {string} [kind] `number`, `wide`, `mono`: how its cells stand
 */

/**
 * @param {object} _
 * @param {string} _.label what the table is of, for a screen reader
 * @param {Column[]} _.columns
 * @param {any[]} _.rows
 * @param {(row: any) => string} _.keyOf
 * @param {(row: any) => void} [_.onOpen]
 * @param {{has: (key: string) => boolean, toggle: (key: string, upTo?: string[]) => void, all: (keys: string[]) => void, count: number}} [_.selection]
 * @param {(row: any) => any} [_.more] what stands below a row, over its whole width
 * @param {Record<string, (row: any) => void>} [_.keys] what keys do to the row under the cursor
 * @param {boolean} [_.isCards] whether rows become cards where there is no room for columns
 */
export function Table({ label, columns, rows, keyOf, onOpen, selection, more, keys = {}, isCards = false }) {
  const [cursor, setCursor] = useCursor(rows, keyOf);
  const body = useRef(null);
  const anchor = useRef(null);
  const row = rows.find((one) => keyOf(one) === cursor);
  const move = (step) => {
    const next = rows[clamp(rows.indexOf(row) + (row ? step : step > 0 ? 1 : 0), rows.length)];
    if (!next) return;
    setCursor(keyOf(next));
    body.current
      .querySelector(`[data-key="${CSS.escape(keyOf(next))}"]`)
      ?.scrollIntoView({ block: "nearest" });
  };
  const choose = (key, event) => {
    const order = rows.map(keyOf);
    const range = event?.shiftKey && anchor.current ? between(order, anchor.current, key) : undefined;
    anchor.current = key;
    selection.toggle(key, range);
  };
  const bound = Object.entries(keys).map(([key, act]) => [key, () => row && act(row)]);
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    ...(onOpen && { Enter: () => row && onOpen(row) }),
    ...(selection && { x: () => row && choose(cursor) }),
    ...Object.fromEntries(bound),
  });
  return html`<table class="table ${isCards ? "cards" : ""}" role="table" aria-label=${label}>
    <${Head} columns=${columns} rows=${rows} keyOf=${keyOf} selection=${selection} />
    <tbody role="rowgroup" ref=${body}>${rows.map(
      (one) => html`<${Row} key=${keyOf(one)} id=${keyOf(one)} row=${one} columns=${columns}
      isCursor=${keyOf(one) === cursor} selection=${selection} choose=${choose} more=${more} onPoint=${setCursor} onOpen=${onOpen} />`,
    )}</tbody></table>`;
}

const clamp = (index, length) => Math.max(0, Math.min(length - 1, index));

function between(order, one, other) {
  const [first, last] = [order.indexOf(one), order.indexOf(other)].toSorted((a, b) => a - b);
  return order.slice(first, last + 1);
}

/** The cursor is a row's key: it stays with its row when others come. */
function useCursor(rows, keyOf) {
  const [cursor, setCursor] = useState(/** @type {string|null} */ (null));
  useEffect(() => {
    if (cursor !== null && !rows.some((row) => keyOf(row) === cursor)) setCursor(null);
  }, [rows]);
  return [cursor, setCursor];
}

function Head({ columns, rows, keyOf, selection }) {
  const isAll = selection && rows.length > 0 && rows.every((row) => selection.has(keyOf(row)));
  return html`<thead role="rowgroup"><tr role="row">
    ${
      selection &&
      html`<th role="columnheader" class="choose"><input type="checkbox" aria-label="Select all rows shown" checked=${isAll}
      onChange=${() => selection.all(isAll ? [] : rows.map(keyOf))} /></th>`
    }
    ${columns.map(({ name, title, kind = "" }) => html`<th key=${name} role="columnheader" scope="col" class="${kind} c-${name}">${title}</th>`)}</tr></thead>`;
}

function Row({ id, row, columns, isCursor, selection, choose, more, onPoint, onOpen }) {
  const below = more?.(row);
  const isChosen = selection?.has(id) ?? false;
  const open = (event) =>
    !event.target.closest("a, button, input, label, summary, .choose") &&
    !String(getSelection()) &&
    onOpen?.(row);
  return html`<tr role="row" data-key=${id} class="${isCursor ? "cursor" : ""} ${onOpen ? "opens" : ""}" aria-selected=${selection ? String(isChosen) : undefined}
      onMouseDown=${() => onPoint(id)} onClick=${open}>
    ${selection && html`<td role="cell" class="choose"><input type="checkbox" aria-label="Select ${id}" checked=${isChosen} onClick=${(event) => choose(id, event)} /></td>`}
    ${columns.map(({ name, cell, kind = "" }) => html`<td key=${name} role="cell" class="${kind} c-${name}">${cell(row)}</td>`)}</tr>
    ${below && html`<tr role="row" class="below"><td role="cell" colspan=${columns.length + (selection ? 1 : 0)}>${below}</td></tr>`}`;
}

/** The rows that are chosen, by key; `key` names the list they are of: another list has its own. */
export function useSelection(key) {
  const [{ of, chosen }, setChosen] = useState({ of: key, chosen: new Set() });
  const mine = of === key ? chosen : new Set();
  const set = (keys) => setChosen({ of: key, chosen: new Set(keys) });
  const toggle = (one, range) => {
    const next = new Set(mine);
    if (range) range.forEach((each) => next.add(each));
    else if (!next.delete(one)) next.add(one);
    set(next);
  };
  return {
    has: (one) => mine.has(one),
    count: mine.size,
    keys: [...mine],
    toggle,
    all: set,
    clear: () => set([]),
  };
}
