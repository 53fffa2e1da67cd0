// Messages, and what became of each at each of its recipients. One that was not answered goes out
// again after a reconnect, under the same id: so it is one message, however often it was sent.

import { overTooLarge } from "../shared/close_codes.js";
import { ConnectionLost } from "../shared/connection.js";
import { find, make, submitted } from "../shared/elements.js";
import { notify } from "../shared/notices.js";
import { deliveryList, IdsField, newMessageId } from "../shared/recipients.js";
import { announceNews } from "../shared/status.js";
import { clock } from "../shared/times.js";

const MOST_MESSAGES = 500;
const WAITS = "waits for the connection…";

export class Chat {
  #connection;
  #feed = find("#feed");
  #recipients = new IdsField(find("#recipients"));
  #text = find("#text");
  #unanswered = [];
  #sending = false;

  constructor(connection) {
    this.#connection = connection;
    const form = find("#composer");
    submitted(form, () => this.#submit());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    connection.addEventListener("state", ({ detail: { state } }) => {
      // While it comes back by itself, what is written waits and goes out then.
      if (state === "online") find("fieldset", form).disabled = false;
      else if (!connection.wanted) find("fieldset", form).disabled = true;
      if (state === "online") this.#flush();
    });
  }

  focus() {
    this.#recipients.focus();
  }

  writeTo(id) {
    this.#recipients.add(id);
    this.#text.focus();
  }

  /** Another user's messages are not for this one's eyes. */
  forget() {
    this.#unanswered.length = 0;
    this.#feed.replaceChildren(find("#feed-empty", this.#feed));
  }

  welcome({ missed }) {
    if (missed) this.#show(make("p", { class: "divider" }, missed === 1 ? "one message while you were away" : `${missed} messages while you were away`));
  }

  received({ id, seq, senderId, message, metadata }) {
    const service = metadata.source === "internal_service";
    const from = service ? metadata.serviceName : senderId;
    const header = make(
      "header", {}, make("strong", {}, from),
      service ? make("span", { class: "badge" }, metadata.serviceType) : null,
      seq === undefined ? make("span", { class: "badge" }, "to everybody") : null,
      make("time", { datetime: metadata.timestamp }, clock(metadata.timestamp)),
    );
    const avatar = make("span", { class: "avatar", "aria-hidden": "true" }, [...from][0]?.toUpperCase() ?? "?");
    const body = make("p", { class: "text" }, message);
    this.#show(make("article", { class: "message theirs", "data-id": id }, avatar, make("div", {}, header, body)));
    announceNews("chat");
  }

  #submit() {
    const recipientIds = this.#recipients.ids;
    const message = this.#text.value;
    if (!recipientIds.length) {
      notify("wait", "To whom?", "Name at least one recipient.", "composer");
      this.#recipients.focus();
      return;
    }
    if (!message.trim()) return this.#text.focus();
    this.#text.value = "";
    const pending = this.#connection.online ? "on its way…" : WAITS;
    const outcome = make("div", { class: "outcome" }, make("p", { class: "pending" }, pending));
    const header = make("header", {}, make("strong", {}, `to ${recipientIds.join(", ")}`), make("time", {}, clock(Date.now())));
    this.#show(
      make("article", { class: "message mine" }, make("div", {}, header, make("p", { class: "text" }, message), outcome)), true,
    );
    this.#unanswered.push({ data: { recipientIds, message, messageId: newMessageId() }, outcome });
    this.#flush();
  }

  /** One after another, so that none overtakes one that has to be sent again. */
  async #flush() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#unanswered.length && this.#connection.online) {
      const [first] = this.#unanswered;
      const retryMs = await this.#send(first);
      if (retryMs) await new Promise((resolve) => setTimeout(resolve, retryMs));
      else if (first.done) this.#unanswered = this.#unanswered.filter((other) => other !== first);
    }
    this.#sending = false;
  }

  /** Returns after how many ms to try again, where the gateway said so. */
  async #send(sent) {
    try {
      const { recipients } = await this.#connection.request("send_message", sent.data);
      sent.outcome.replaceChildren(deliveryList(recipients));
      sent.done = true;
    } catch (error) {
      if (error.retryAfterMs) return error.retryAfterMs;
      if (error instanceof ConnectionLost && !overTooLarge(error.closeCode)) {
        sent.outcome.replaceChildren(make("p", { class: "pending" }, WAITS));
        return 0;
      }
      sent.outcome.replaceChildren(make("p", { class: "refused", role: "alert" }, `Not sent: ${error.message}`));
      sent.done = true;
    }
    return 0;
  }

  #show(element, jump = false) {
    const feed = this.#feed;
    const atEnd = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 80;
    feed.append(element);
    // The first child says that there is nothing yet.
    if (feed.children.length > MOST_MESSAGES + 1) feed.children[1].remove();
    if (jump || atEnd) feed.scrollTop = feed.scrollHeight;
  }
}
