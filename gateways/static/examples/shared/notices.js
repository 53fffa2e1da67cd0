// What somebody should know now. The region is a live one: a screen reader says it at once.

import { find, make } from "./elements.js";

const MOST_NOTICES = 4;

/** `kind`: "bad", "wait" or "good". A notice of the same `topic` takes the place of the last one. */
export function notify(kind, title, text = "", topic = title) {
  const region = find("#notices");
  withdraw(topic);
  const notice = make(
    "div", { class: `notice ${kind}`, "data-topic": topic },
    make("p", {}, make("strong", {}, title), " ", text),
    make("button", { type: "button", class: "plain", "aria-label": `Dismiss: ${title}`, onclick: () => notice.remove() }, "✕"),
  );
  region.append(notice);
  while (region.children.length > MOST_NOTICES) region.firstElementChild.remove();
}

export function withdraw(topic) {
  for (const notice of [...find("#notices").children]) {
    if (notice.dataset.topic === topic) notice.remove();
  }
}

/** Carries out what somebody asked for; where that fails, they hear of it. Returns whether it did not. */
export async function attempt(title, work) {
  try {
    await work();
    withdraw(title);
    return true;
  } catch (error) {
    const again = error.retryAfterMs ? ` Try again in ${(error.retryAfterMs / 1000).toFixed(1)} s.` : "";
    notify("bad", title, `${error.message}${again}`);
    return false;
  }
}
