// A player: authenticates, resumes where it was, and hands what is pushed to the panels.

import { RESUME_WORDS } from "../shared/close_codes.js";
import { Connection } from "../shared/connection.js";
import { find, makeCopyable, submitted, valueOf } from "../shared/elements.js";
import { startFrameLog } from "../shared/frame_log.js";
import { attempt, notify, withdraw } from "../shared/notices.js";
import { showView, startStatus, startViews } from "../shared/status.js";
import { clock } from "../shared/times.js";
import { Chat } from "./chat.js";
import { Devices } from "./devices.js";
import { People } from "./people.js";
import { Position } from "./position.js";
import { readToken, tokenInWords } from "./token.js";

const signIn = find("#credentials");
const tokenField = find("#token");
const deviceField = find("#device");
const connectButton = find("#connect");
const position = new Position();
let user = null;
// As they were when somebody pressed the button: a reconnect takes nothing half typed.
let credentials = null;

const connection = new Connection(() => {
  const resume = position.resumeFor(readToken(credentials.token)?.sub);
  return connection.request("authenticate", { ...credentials, ...(resume && { resume }) });
});

const chat = new Chat(connection, position);
const people = new People(connection, (id) => {
  chat.writeTo(id);
  showView("chat");
});
const devices = new Devices(connection);

startFrameLog()(connection);
startStatus(connection, () => user.userId);
startViews("session");
makeCopyable(find("#copy"), find("#command"));

const pushed = {
  connected(data) {
    const before = user;
    user = data.user;
    find("#facts").hidden = false;
    for (const [id, text] of Object.entries({
      "fact-user": user.userId, "fact-email": user.email ?? "–", "fact-session": data.sessionId, "fact-epoch": data.epoch,
    })) find(`#${id}`).textContent = text;
    // The answer to a fresh token says nothing new of the messages.
    if (!position.arrived(data)) return;
    showPosition();
    if (before && before.userId !== user.userId) {
      chat.forget();
      people.forget();
    }
    chat.welcome(data);
    if (data.reason) notify("wait", "Not everything could be resumed:", `${RESUME_WORDS[data.reason] ?? data.reason}.`);
  },
  message(data) {
    if (!position.isNew(data)) return;
    showPosition();
    chat.received(data);
  },
  user_status_update: (data) => people.update(data),
  token_expiring({ expiresAt }) {
    notify("wait", `The token expires at ${clock(expiresAt)}.`, "Paste a fresh one and renew: the session goes on.", "token");
    signIn.open = true;
  },
  error: ({ code, error }) => notify("bad", code, error),
};

connection.addEventListener("push", ({ detail: { event, data } }) => pushed[event]?.(data));

connection.addEventListener("state", ({ detail: { state } }) => {
  connectButton.textContent = connection.online ? "Renew the token" : "Connect";
  connectButton.disabled = state === "connecting";
  find("#live").textContent = { online: "live", waiting: "interrupted" }[state] ?? "";
  if (!connection.wanted) signIn.open = true;
  if (state !== "online") return;
  signIn.open = false;
  withdraw("token");
  people.refresh();
  devices.refresh();
});

submitted(find("#sign-in"), async () => {
  const deviceId = valueOf(deviceField);
  credentials = { token: valueOf(tokenField), ...(deviceId && { deviceId }) };
  if (connection.online) {
    const renewed = await attempt("The token was not renewed.", () => connection.request("authenticate", credentials));
    if (renewed) notify("good", "Renewed.", tokenInWords(credentials.token), "token");
    signIn.open = !renewed;
    return;
  }
  connection.addEventListener("state", function came({ detail: { state } }) {
    if (state === "connecting") return;
    connection.removeEventListener("state", came);
    if (state !== "online") return;
    showView("chat");
    chat.focus();
  });
  connection.open();
});

tokenField.addEventListener("input", () => {
  find("#token-says").textContent = tokenInWords(valueOf(tokenField));
});

find("#show-token").addEventListener("change", ({ target }) => {
  tokenField.type = target.checked ? "text" : "password";
});

find("#ping").addEventListener("click", () =>
  attempt("No answer to the ping.", async () => {
    const sent = performance.now();
    await connection.request("ping");
    find("#round-trip").textContent = `${Math.max(1, Math.round(performance.now() - sent))} ms`;
  }),
);

function showPosition() {
  find("#fact-seq").textContent = position.seq;
}
