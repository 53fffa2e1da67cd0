// The platform's services, and which types there are.

import { emptyNote, find, make } from "../shared/elements.js";
import { attempt } from "../shared/notices.js";

export function startServices(connection) {
  const refresh = () =>
    attempt("The services did not come.", async () => {
      const [{ services }, { types, allowedTypes }] = await Promise.all([
        connection.request("list_services"),
        connection.request("list_service_types"),
      ]);
      find("#services").replaceChildren(...(services.length ? services.map(row) : [emptyNote("There is no service.")]));
      find("#types").textContent = `Types: ${types.join(", ") || "none"}. A newcomer may have ${allowedTypes.length ? allowedTypes.join(", ") : "any type"}.`;
      find("#known-types").replaceChildren(...(allowedTypes.length ? allowedTypes : types).map((type) => make("option", { value: type })));
    });

  find("#services-refresh").addEventListener("click", refresh);
  return { refresh };
}

function row({ name, type, description, enabled, metadata }) {
  const facts = [description, Object.keys(metadata).length ? JSON.stringify(metadata) : ""].filter(Boolean).join(" · ");
  return make(
    "li", { class: "row" },
    make("div", {}, make("span", { class: "name" }, name), make("small", {}, facts)),
    make("span", { class: "badge" }, type),
    enabled ? null : make("span", { class: "badge bad" }, "disabled"),
  );
}
