// Who is online: friends as their status changes, everybody page by page.

import { emptyNote, find, make } from "../shared/elements.js";
import { attempt } from "../shared/notices.js";
import { ago } from "../shared/times.js";

const PAGE_SIZE = 20;

const LISTS = {
  friends: { event: "get_online_friends_only", empty: "No friend is online. The platform's services say who is whose friend." },
  everyone: { event: "get_all_online_users", empty: "Nobody is online.", paged: true },
  detailed: { event: "get_detailed_online_users", empty: "Nobody is online.", paged: true },
};

export class People {
  #connection;
  #writeTo;
  #list = find("#people");
  #more = find("#people-more");
  #chosen = "friends";
  #friends = new Map();
  #cursor;
  // Whoever chooses another list while one is on its way wants to see the other one.
  #asked = 0;

  constructor(connection, writeTo) {
    this.#connection = connection;
    this.#writeTo = writeTo;
    find("#people-lists").addEventListener("change", ({ target }) => {
      this.#chosen = target.value;
      this.refresh();
    });
    find("#people-refresh").addEventListener("click", () => this.refresh());
    this.#more.addEventListener("click", () => this.#ask(this.#cursor));
  }

  refresh() {
    this.#ask();
  }

  /** Another user has other friends. */
  forget() {
    this.#friends.clear();
  }

  /** A friend came or went. */
  update(friend) {
    this.#friends.set(friend.userId, friend);
    if (this.#chosen === "friends") this.#showFriends();
  }

  async #ask(cursor) {
    const { event, paged, empty } = LISTS[this.#chosen];
    const asked = ++this.#asked;
    await attempt("The list did not come.", async () => {
      const { users, total, nextCursor } = await this.#connection.request(event, paged ? { limit: PAGE_SIZE, cursor } : {});
      if (asked !== this.#asked) return;
      this.#cursor = nextCursor;
      this.#more.hidden = !nextCursor;
      if (paged) {
        find("#people-count").textContent = total === 1 ? "1 online" : `${total} online`;
        const rows = users.map((user) => this.#row(user));
        if (cursor) this.#list.append(...rows);
        else this.#list.replaceChildren(...(rows.length ? rows : [emptyNote(empty)]));
      } else {
        // Those who went offline meanwhile stay, with when they were last seen.
        for (const friend of this.#friends.values()) friend.status = "offline";
        for (const user of users) this.#friends.set(user.userId, user);
        this.#showFriends();
      }
    });
  }

  #showFriends() {
    const byPresence = (a, b) => b.status.localeCompare(a.status) || a.userId.localeCompare(b.userId);
    const friends = [...this.#friends.values()].sort(byPresence);
    const online = friends.filter(({ status }) => status === "online").length;
    find("#people-count").textContent = `${online} online`;
    const rows = friends.map((friend) => this.#row(friend));
    this.#list.replaceChildren(...(rows.length ? rows : [emptyNote(LISTS.friends.empty)]));
  }

  #row({ userId, status, lastSeen, email, sessionCount }) {
    const facts = make("small", {}, status);
    if (lastSeen) facts.append(status === "online" ? ", active " : ", last seen ", ago(lastSeen));
    if (sessionCount !== undefined) facts.append(`, ${sessionCount} ${sessionCount === 1 ? "session" : "sessions"}`);
    if (email) facts.append(`, ${email}`);
    return make(
      "li", { class: "row", "data-status": status },
      make("span", { class: "dot", "aria-hidden": "true" }),
      make("div", {}, make("span", { class: "name" }, userId), facts),
      make("button", { type: "button", class: "quiet", "aria-label": `Write to ${userId}`, onclick: () => this.#writeTo(userId) }, "Write"),
    );
  }
}
