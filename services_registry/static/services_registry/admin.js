// What the registry's pages of the admin need beyond HTML.

// One click decides once: a second one would reach the server as a second POST.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.once")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});

// A page that the browser brings back from its memory may decide again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form.once")) delete form.dataset.sent;
});

document.addEventListener("click", async ({ target }) => {
  if (!target.closest("button.copy")) return;
  const field = document.querySelector("#new-key");
  const says = document.querySelector("#copied");
  field.select();
  try {
    // Only pages from this machine or over TLS have a clipboard.
    await navigator.clipboard.writeText(field.value);
    says.textContent = "Copied.";
  } catch {
    says.textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it by hand.";
  }
});
