/**
 * A browser allows six connections to an origin, in all its windows together. Four of them are for
 * streams, so that requests get through however many windows show the dashboard.
 */

const PLACES = ["afterwards stream 1", "afterwards stream 2", "afterwards stream 3", "afterwards stream 4"];

/**
 * Waits for a place. Without TLS a browser has no locks but on loopback; then there is always one.
 *
 * @param {AbortSignal} signal ends the waiting
 * @returns {Promise<() => void>} gives the place back
 * @throws {DOMException} the waiting was ended
 */
export async function takePlace(signal) {
  if (!navigator.locks) return () => {};
  for (const name of PLACES) {
    const release = await take(name, { ifAvailable: true });
    if (release) return release;
  }
  return take(PLACES[Math.floor(Math.random() * PLACES.length)], { signal });
}

/** A lock is held as long as the promise that is given for it. */
function take(name, options) {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, options, (lock) => (lock ? new Promise((release) => resolve(release)) : resolve(null)))
      .catch(reject);
  });
}
