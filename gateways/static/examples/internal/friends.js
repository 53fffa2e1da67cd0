// Friend lists belong to the platform: its services write them, players only see who is online.

import { find, make, submitted, valueOf } from "../shared/elements.js";
import { attempt } from "../shared/notices.js";
import { IdsField } from "../shared/recipients.js";

export function startFriends(connection) {
  const ids = new IdsField(find("#friend-ids"));

  // Enter in a field asks for what the first button does.
  submitted(find("#friends-form"), (button) =>
    attempt("The friend list is as it was.", async () => {
      const event = button?.value ?? "add_friends";
      const userId = valueOf(find("#friends-of"));
      const mutual = event === "add_friends" || event === "remove_friends" ? { mutual: find("#mutual").checked } : {};
      if (event !== "get_friends") await connection.request(event, { userId, friendIds: ids.ids, ...mutual });
      show(await connection.request("get_friends", { userId }));
    }),
  );
}

function show({ userId, friendIds }) {
  const words = friendIds.length ? `${userId} has ${friendIds.length} on the list:` : `Nobody is on ${userId}'s list.`;
  const chips = [...friendIds].sort().map((id) => make("li", { class: "chip whole" }, id));
  find("#friend-list").replaceChildren(make("p", {}, words), make("ul", { class: "chips" }, ...chips));
}
