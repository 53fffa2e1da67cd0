// What the service says to players, and what became of it at each of them.

import { find, jsonOf, make, submitted } from "../shared/elements.js";
import { attempt, notify } from "../shared/notices.js";
import { deliveryList, IdsField, newMessageId } from "../shared/recipients.js";
import { clock } from "../shared/times.js";

const MOST_RECEIPTS = 30;

export function startMessages(connection) {
  const form = find("#message-form");
  const recipients = new IdsField(find("#recipients"));
  const text = find("#text");
  const toEverybody = () => form.elements.reach.value === "everybody";

  form.addEventListener("change", () => (find("#recipients").hidden = toEverybody()));
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  submitted(form, async () => {
    const recipientIds = recipients.ids;
    if (!toEverybody() && !recipientIds.length) {
      notify("wait", "To whom?", "Name at least one player.", "recipients");
      recipients.focus();
      return;
    }
    await attempt("The message was not sent.", async () => {
      const metadata = jsonOf(find("#metadata"));
      const data = { message: text.value, ...(metadata && { metadata }) };
      if (toEverybody()) {
        const { recipients: { total } } = await connection.request("broadcast", data);
        const words = total === 1 ? "to the one player online" : `to ${total} players online`;
        show(data.message, make("p", { class: "pending" }, words));
      } else {
        // Should the answer get lost: whoever sends again does so with this id, and it is one message.
        const messageId = newMessageId();
        const reply = await connection.request("send_message", { recipientIds, messageId, ...data });
        show(data.message, deliveryList(reply.recipients));
      }
      text.value = "";
    });
  });
}

function show(message, outcome) {
  const receipts = find("#receipts");
  const header = make("header", {}, make("time", {}, clock(Date.now())), " ", make("span", { class: "text" }, message));
  receipts.prepend(make("li", {}, header, outcome));
  if (receipts.children.length > MOST_RECEIPTS) receipts.lastElementChild.remove();
}
