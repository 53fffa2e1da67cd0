// Whether players are online, and how a service ends their sessions.

import { find, make, submitted, valueOf } from "../shared/elements.js";
import { attempt } from "../shared/notices.js";
import { IdsField } from "../shared/recipients.js";
import { ago } from "../shared/times.js";

export function startPlayers(connection) {
  const asked = new IdsField(find("#status-ids"));
  const player = find("#disconnect-user");

  const row = ({ userId, status, lastSeen, sessionCount }) => {
    const facts = make("small", {}, status);
    if (status === "online") facts.append(`, ${sessionCount} ${sessionCount === 1 ? "session" : "sessions"}`);
    if (lastSeen) facts.append(status === "online" ? ", active " : ", last seen ", ago(lastSeen));
    const choose = () => {
      player.value = userId;
      find("#disconnect-reason").focus();
    };
    return make(
      "li", { class: "row", "data-status": status },
      make("span", { class: "dot", "aria-hidden": "true" }),
      make("div", {}, make("span", { class: "name" }, userId), facts),
      status === "online"
        ? make("button", { type: "button", class: "quiet", "aria-label": `Disconnect ${userId}`, onclick: choose }, "Disconnect…")
        : null,
    );
  };

  const lookUp = (userIds) =>
    attempt("The statuses did not come.", async () => {
      const { users } = await connection.request("get_user_status", { userIds });
      find("#statuses").replaceChildren(...users.map(row));
    });

  submitted(find("#status-form"), () => (asked.ids.length ? lookUp(asked.ids) : asked.focus()));

  submitted(find("#disconnect-form"), () =>
    attempt("Nobody was disconnected.", async () => {
      const userId = valueOf(player);
      const sessionId = valueOf(find("#disconnect-session"));
      const reason = valueOf(find("#disconnect-reason"));
      const { closed } = await connection.request("disconnect_user", {
        userId, ...(sessionId && { sessionId }), ...(reason && { reason }),
      });
      find("#disconnected").textContent = closed === 1 ? `One session of ${userId} was ended.` : `${closed} sessions of ${userId} were ended.`;
    }),
  );
}
