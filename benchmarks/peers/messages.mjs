// What is sent, pushed and answered: the same for every Node.js peer, whatever it is framed in.
import { randomUUID } from "node:crypto";

/** Why a `send_message` can't be carried out, or undefined. */
export function fault(request) {
  const { recipientIds, message } = request ?? {};
  if (!Array.isArray(recipientIds) || recipientIds.length === 0) return "recipientIds: a list of user ids";
  if (!recipientIds.every((id) => typeof id === "string")) return "recipientIds: user ids are strings";
  if (typeof message !== "string") return "message: a string";
}

/** Many recipients get one and the same push, so it names its recipient only where there is just one. */
export function pushOf(senderId, { recipientIds, message, metadata }) {
  const recipientId = recipientIds.length === 1 ? recipientIds[0] : undefined;
  const timestamp = new Date().toISOString();
  return { recipientId, message, metadata: { ...metadata, source: "user", senderId, timestamp } };
}

export function receipt() {
  return { status: "sent", messageId: randomUUID() };
}

export function refusal(error) {
  return { status: "error", error };
}
