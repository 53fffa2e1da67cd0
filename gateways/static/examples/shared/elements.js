// Elements of the page. Whatever comes from the wire becomes text, never markup: there is no other
// way to put it in than `make`, and the page's policy forbids innerHTML altogether.

export const find = (selector, root = document) => root.querySelector(selector);

/** An element; strings among its children become text. `properties`: attributes, and `on…` handlers. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** What a field holds, without the spaces around it. */
export const valueOf = (field) => field.value.trim();

/** `submitted(form, async () => …)`: no form of these pages is ever sent to a server. */
export function submitted(form, handle) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    handle(event.submitter);
  });
}

/** A text field's JSON object; null where it is empty. Raises SyntaxError with words for people. */
export function jsonOf(field) {
  const text = valueOf(field);
  if (!text) return null;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SyntaxError("The metadata is not valid JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SyntaxError('The metadata has to be a JSON object, as {"match": 12}.');
  }
  return value;
}

/** Text that one click copies, where the browser lets a page do that. */
export function makeCopyable(button, source) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

/** A list's place that says something where there is nothing. */
export const emptyNote = (text) => make("p", { class: "empty" }, text);
