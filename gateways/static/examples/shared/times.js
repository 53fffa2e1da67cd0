// Points in time, in words.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];

const two = (number) => String(number).padStart(2, "0");

/** 14:03:09 of this machine's day. */
export function clock(when) {
  const date = new Date(when);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export const clockMs = (when) =>
  `${clock(when)}.${String(new Date(when).getMilliseconds()).padStart(3, "0")}`;

/** 4:09 or 1:04:09; never below zero. */
export function duration(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = two(seconds % 60);
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

export function inWords(when) {
  const seconds = (new Date(when) - Date.now()) / 1000;
  const unit = UNITS.find(([, size]) => Math.abs(seconds) >= size);
  if (unit) return relative.format(Math.round(seconds / unit[1]), unit[0]);
  return seconds > 0 ? "in a moment" : "just now";
}

/** A <time> that keeps up: "3 min. ago". */
export function ago(when) {
  const element = document.createElement("time");
  element.dateTime = when;
  element.dataset.ago = "";
  element.title = new Date(when).toLocaleString();
  element.textContent = inWords(when);
  return element;
}

setInterval(() => {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const words = inWords(element.dateTime);
    if (element.textContent !== words) element.textContent = words;
  }
}, 5000);
