// Several user ids in one field, and what became of a message to them.

import { make, valueOf } from "./elements.js";

/** Makes <div class="ids"> with an <input> in it a field of ids: Enter or a comma ends one. */
export class IdsField {
  #input;
  #ids = [];
  #chips = make("ul", { class: "chips" });

  constructor(root) {
    this.#input = root.querySelector("input");
    root.prepend(this.#chips);
    this.#input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && valueOf(this.#input) && !event.isComposing) {
        event.preventDefault();
        this.#take();
      } else if (event.key === "Backspace" && !this.#input.value && this.#ids.length) {
        this.remove(this.#ids.at(-1));
      }
    });
    this.#input.addEventListener("input", () => this.#input.value.includes(",") && this.#take());
    this.#input.addEventListener("blur", () => this.#take());
    root.addEventListener("click", (event) => event.target === root && this.#input.focus());
  }

  /** What is still being typed counts too. */
  get ids() {
    this.#take();
    return [...this.#ids];
  }

  add(id) {
    if (id && !this.#ids.includes(id)) this.#ids.push(id);
    this.#show();
  }

  remove(id) {
    this.#ids = this.#ids.filter((other) => other !== id);
    this.#show();
  }

  focus() {
    this.#input.focus();
  }

  #take() {
    if (!this.#input.value) return;
    const typed = this.#input.value.split(",").map((id) => id.trim());
    this.#input.value = "";
    typed.forEach((id) => this.add(id));
  }

  #show() {
    this.#chips.replaceChildren(...this.#ids.map((id) => this.#chip(id)));
  }

  #chip(id) {
    const remove = () => {
      this.remove(id);
      this.#input.focus();
    };
    return make(
      "li", { class: "chip" }, make("span", {}, id),
      make("button", { type: "button", class: "plain", "aria-label": `Remove ${id}`, onclick: remove }, "✕"),
    );
  }
}

const MARKS = { sent: "✓", queued: "◷", failed: "✕" };
const TITLES = {
  sent: "stored, and there is a live session now",
  queued: "stored, and delivered at the next connect",
  failed: "not stored: nothing will arrive",
};

/** A list of who got a message, who will get it and who won't. */
export function deliveryList({ sent, queued, failed }) {
  const items = Object.entries({ sent, queued, failed }).flatMap(([outcome, ids]) =>
    ids.map((id) =>
      make(
        "li", { class: `chip ${outcome}`, title: TITLES[outcome] },
        make("span", { "aria-hidden": "true" }, MARKS[outcome]), make("span", {}, id), make("em", {}, outcome),
      ),
    ),
  );
  return make("ul", { class: "chips delivery", "aria-label": "Delivery" }, ...items);
}

/** The sender's own name for a message: sent again with it, the message is still one. */
export function newMessageId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
