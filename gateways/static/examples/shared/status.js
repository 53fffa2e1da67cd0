// The connection's state where everybody sees it, and the pages' views on a small screen.

import { find } from "./elements.js";
import { notify, withdraw } from "./notices.js";

const WORDS = {
  idle: "Not connected",
  connecting: "Connecting…",
  online: "Connected",
  waiting: "Coming back",
  ended: "Ended",
};

/** `who()`: a name to show while connected. */
export function startStatus(connection, who) {
  const [words, leave] = ["#status-words", "#leave"].map((id) => find(id));
  let countdown = null;

  connection.addEventListener("state", ({ detail: { state, code, why, until } }) => {
    clearInterval(countdown);
    document.body.dataset.state = state;
    leave.hidden = !connection.wanted;
    // Buttons and fieldsets; a request that cannot go out is none to offer.
    for (const control of document.querySelectorAll(".needs-connection")) control.disabled = !connection.online;
    words.textContent = state === "online" ? `${WORDS.online} as ${who()}` : WORDS[state];
    if (state === "waiting") {
      notify("wait", "Connection lost.", `${why} It comes back by itself.`, "connection");
      const tick = () => {
        const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
        words.textContent = `Coming back in ${seconds} s`;
      };
      tick();
      countdown = setInterval(tick, 250);
    } else if (state === "ended") {
      const coded = code ? ` (${code})` : "";
      notify("bad", `The session ended${coded}.`, why, "connection");
    } else if (state !== "connecting") {
      withdraw("connection");
    }
  });
  leave.addEventListener("click", () => connection.close());
}

/** On a small screen one view shows at a time; on a large one all of them do. */
export function showView(name) {
  for (const part of document.querySelectorAll("[data-in]")) {
    part.toggleAttribute("data-active", part.dataset.in.split(" ").includes(name));
  }
  for (const button of document.querySelectorAll("#views button")) {
    if (button.dataset.view === name) {
      button.setAttribute("aria-current", "page");
      button.removeAttribute("data-news");
    } else {
      button.removeAttribute("aria-current");
    }
  }
}

/** A dot at a view that is not shown now. */
export function announceNews(name) {
  const button = find(`#views [data-view="${name}"]`);
  if (!button.hasAttribute("aria-current")) button.setAttribute("data-news", "");
}

export function startViews(first) {
  find("#views").addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button) showView(button.dataset.view);
  });
  showView(first);
}
