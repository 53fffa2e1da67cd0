// A service of the platform: authenticates, registers, and sees how long its session has left.

import { Connection } from "../shared/connection.js";
import { find, make, jsonOf, submitted, valueOf } from "../shared/elements.js";
import { startFrameLog } from "../shared/frame_log.js";
import { attempt, notify } from "../shared/notices.js";
import { showView, startStatus, startViews } from "../shared/status.js";
import { startFriends } from "./friends.js";
import { startMessages } from "./messages.js";
import { startPlayers } from "./players.js";
import { startServices } from "./services.js";
import { ServiceSession } from "./service_session.js";

const nameField = find("#name");
const keyField = find("#key");
// As they were when somebody pressed the button: a reconnect takes nothing half typed.
let credentials = null;

const connection = new Connection(() => connection.request("authenticate_service", credentials));
const follow = startFrameLog();
const session = new ServiceSession(connection);

follow(connection);
startStatus(connection, () => session.serviceName);
startViews("session");
startMessages(connection);
startPlayers(connection);
startFriends(connection);
const services = startServices(connection);

connection.addEventListener("push", ({ detail: { event, data } }) => {
  if (event === "service_authenticated") session.begin(data);
  if (event === "error") notify("bad", data.code, data.error);
});

connection.addEventListener("state", ({ detail: { state } }) => {
  find("#connect").textContent = connection.online ? "Authenticate again" : "Authenticate";
  find("#connect").disabled = state === "connecting";
  if (state === "online") {
    find("#credentials").open = find("#newcomer").open = false;
    services.refresh();
  } else if (!connection.wanted) {
    find("#credentials").open = true;
  }
});

submitted(find("#sign-in"), async () => {
  credentials = { serviceName: valueOf(nameField), serviceKey: keyField.value };
  if (!connection.online) {
    connection.open();
    return;
  }
  await attempt("Not authenticated again.", async () => {
    await connection.request("authenticate_service", credentials);
    find("#credentials").open = false;
  });
});

find("#ping").addEventListener("click", () =>
  attempt("No answer to the ping.", async () => {
    const sent = performance.now();
    await connection.request("ping");
    find("#round-trip").textContent = `${Math.max(1, Math.round(performance.now() - sent))} ms`;
  }),
);

// --- registering ----------------------------------------------------------------------------------

const newName = find("#new-name");
const newKey = find("#new-key");

find("#make-key").addEventListener("click", () => {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  newKey.value = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace("=", "");
});

submitted(find("#register"), async () => {
  const result = find("#registered");
  result.replaceChildren();
  await attempt("Not registered.", async () => {
    const metadata = jsonOf(find("#new-metadata"));
    const { approval, service, message } = await ask("register_service", {
      serviceName: valueOf(newName),
      serviceKey: newKey.value,
      serviceType: valueOf(find("#new-type")),
      description: valueOf(find("#new-description")),
      ...(metadata && { metadata }),
    });
    const badge = make("span", { class: `badge ${approval === "approved" ? "good" : "wait"}` }, approval);
    result.replaceChildren(make("strong", {}, service.name), " ", badge, make("p", {}, message));
    if (approval !== "approved") result.append(make("a", { href: "/admin/" }, "Approve it in the admin"));
    nameField.value = service.name;
    keyField.value = newKey.value;
    if (!connection.wanted) showView("session");
    if (connection.online) services.refresh();
  });
});

/** On the live socket; where there is none, on one for this question alone. */
async function ask(event, data) {
  if (connection.online) return connection.request(event, data);
  let answer;
  const once = new Connection(async () => (answer = await once.request(event, data)));
  follow(once);
  try {
    await new Promise((resolve, reject) => {
      once.addEventListener("state", ({ detail: { state, why } }) => {
        if (state === "online") resolve();
        else if (state !== "connecting") reject(new Error(why));
      });
      once.open();
    });
  } finally {
    once.close();
  }
  return answer;
}
