// My own sessions; the others can be ended from here.

import { find, make } from "../shared/elements.js";
import { attempt } from "../shared/notices.js";
import { ago } from "../shared/times.js";

export class Devices {
  #connection;

  constructor(connection) {
    this.#connection = connection;
    find("#devices-refresh").addEventListener("click", () => this.refresh());
  }

  async refresh() {
    await attempt("The devices did not come.", async () => {
      const { sessions } = await this.#connection.request("get_sessions");
      sessions.sort((a, b) => b.current - a.current || b.connectedAt.localeCompare(a.connectedAt));
      find("#devices").replaceChildren(...sessions.map((session) => this.#row(session)));
    });
  }

  #row({ sessionId, deviceId, deviceInfo, connectedAt, lastActivity, current }) {
    const name = deviceId ?? "unnamed device";
    const facts = make("small", {}, "since ", ago(connectedAt), ", active ", ago(lastActivity));
    if (deviceInfo) facts.append(`, ${typeof deviceInfo === "string" ? deviceInfo : JSON.stringify(deviceInfo)}`);
    const close = make("button", { type: "button", class: "quiet", "aria-label": `Close the session of ${name}`, onclick: () => this.#close(sessionId) }, "Close");
    return make(
      "li", { class: "row", "data-session": sessionId },
      make("div", {}, make("span", { class: "name" }, name), facts),
      current ? make("span", { class: "badge" }, "this one") : close,
    );
  }

  async #close(sessionId) {
    await attempt("It was not closed.", () => this.#connection.request("close_session", { sessionId }));
    await this.refresh();
  }
}
