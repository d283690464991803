/** The service's mask over secrets. */

export const MASK = "**********";

/**
 * The places of masks in a payload. Only the service knows what stands behind them, so a new task
 * cannot have it.
 *
 * @param {any} value @param {string} [pointer]
 * @returns {{pointer: string, message: string}[]}
 */
export function masked(value, pointer = "#") {
  if (value === MASK) return [{ pointer, message: "is kept from view; write it here anew" }];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, one]) => masked(one, `${pointer}/${name}`));
}
