// How long a service's session has left, and why it ended.

import { find } from "../shared/elements.js";
import { ago, clock, duration } from "../shared/times.js";

const text = (id, value) => (find(`#${id}`).textContent = value);

export class ServiceSession {
  serviceName = "";
  #expiresAt = 0;
  #lifeMs = 1;
  #idleMs = 1;
  #lastRequest = 0;
  #ticking = null;

  constructor(connection) {
    connection.addEventListener("frame", ({ detail: { direction } }) => {
      if (direction === "out") this.#lastRequest = Date.now();
    });
    connection.addEventListener("state", ({ detail: { state, code, why } }) => {
      const online = state === "online";
      clearInterval(this.#ticking);
      find("#timers").hidden = !online;
      if (online) this.#ticking = setInterval(() => this.#tick(), 250);
      const ended = state === "ended" || state === "waiting";
      find("#ending").hidden = !ended;
      if (ended) text("ending", `Ended at ${clock(Date.now())}${code ? ` with ${code}` : ""}: ${why}`);
      text("live", { online: "live", waiting: "interrupted", ended: "ended" }[state] ?? "");
    });
  }

  /** Takes a `service_authenticated`. On a live socket it begins the session's life anew. */
  begin({ serviceName, serviceType, description, metadata, socketId, connectedAt, expiresAt, idleTimeout }) {
    this.serviceName = serviceName;
    this.#expiresAt = new Date(expiresAt).getTime();
    this.#lifeMs = this.#expiresAt - Date.now();
    this.#idleMs = idleTimeout * 1000;
    text("fact-name", serviceName);
    text("fact-type", serviceType);
    text("fact-description", description || "–");
    text("fact-metadata", JSON.stringify(metadata));
    text("fact-socket", socketId);
    find("#fact-since").replaceChildren(`${clock(connectedAt)}, `, ago(connectedAt));
    find("#facts").hidden = false;
    this.#tick();
  }

  #tick() {
    const now = Date.now();
    this.#show("expiry", this.#expiresAt - now, this.#lifeMs);
    this.#show("idle", this.#lastRequest + this.#idleMs - now, this.#idleMs);
  }

  #show(timer, leftMs, wholeMs) {
    text(`${timer}-left`, duration(leftMs));
    find(`#${timer}`).value = Math.max(0, leftMs / wholeMs);
  }
}
