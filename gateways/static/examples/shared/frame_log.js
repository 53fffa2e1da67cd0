// Every frame, in and out, the newest on top. Bounded, and without anybody's token or key.

import { find, make } from "./elements.js";
import { clockMs } from "./times.js";

const MOST_FRAMES = 300;
const SECRETS = new Set(["token", "serviceKey"]);
const ARROWS = { in: "↓", out: "↑", note: "·" };
const NAMES = { in: "received", out: "sent", note: "connection" };

const masked = (key, value) =>
  SECRETS.has(key) && typeof value === "string" ? `•••••• (${value.length} characters)` : value;

const size = (length) => (length < 1000 ? `${length} B` : `${(length / 1000).toFixed(1)} kB`);

/** Returns `follow`, which takes a connection whose frames are to be shown. */
export function startFrameLog() {
  const list = find("#frames");
  const [words, direction, count] = ["#frame-words", "#frame-direction", "#frame-count"].map((id) => find(id));
  const entries = [];

  const wanted = (entry) =>
    (!direction.value || entry.direction === direction.value) &&
    entry.text.includes(words.value.trim().toLowerCase());

  const showCount = () => {
    const shown = entries.filter((entry) => !entry.element.hidden).length;
    count.textContent = shown === entries.length ? `${shown}` : `${shown} of ${entries.length}`;
  };

  const filter = () => {
    for (const entry of entries) entry.element.hidden = !wanted(entry);
    showCount();
  };

  const show = ({ detail }) => {
    const entry = makeEntry(detail);
    entry.element.hidden = !wanted(entry);
    entries.push(entry);
    list.prepend(entry.element);
    if (entries.length > MOST_FRAMES) entries.shift().element.remove();
    showCount();
  };

  words.addEventListener("input", filter);
  direction.addEventListener("change", filter);
  find("#frame-clear").addEventListener("click", () => {
    entries.length = 0;
    list.replaceChildren();
    showCount();
  });
  return (connection) => connection.addEventListener("frame", show);
}

function makeEntry({ direction, frame, length, note }) {
  const now = Date.now();
  const time = make("time", { datetime: new Date(now).toISOString() }, clockMs(now));
  const arrow = make("span", { class: "arrow", "aria-hidden": "true" }, ARROWS[direction]);
  const spoken = make("span", { class: "spoken" }, NAMES[direction]);
  if (direction === "note") {
    const element = make("li", { class: "frame note" }, time, arrow, spoken, make("span", {}, note));
    return { element, direction, text: note.toLowerCase() };
  }
  const failed = frame.data?.status === "error" || frame.event.endsWith("error");
  const json = JSON.stringify(frame, masked, 2);
  const summary = make(
    "summary", {}, time, arrow, spoken, make("code", {}, frame.event),
    make("small", {}, frame.id === undefined ? size(length) : `#${frame.id} · ${size(length)}`),
  );
  const details = make("details", {}, summary);
  // Only who looks pays for it: a frame may have 64 kB.
  details.addEventListener("toggle", () => details.append(make("pre", { tabindex: "0" }, json)), { once: true });
  const element = make("li", { class: `frame ${direction}${failed ? " failed" : ""}` }, details);
  return { element, direction, text: json.toLowerCase() };
}
