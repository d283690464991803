/** Deliveries of webhooks: tasks that the service alone makes, and no client submits or edits. */

export const DELIVERY = "webhook";

/** @param {string} type @returns {boolean} true if clients submit tasks of this type */
export const isForClients = (type) => type !== DELIVERY;
