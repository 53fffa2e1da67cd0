// `ws` as its peers share it: tokens, the sockets of each user, frames that are built once.
import { createServer } from "node:http";

import { Sender, WebSocketServer } from "ws";

import { fault, pushOf, receipt, refusal } from "./messages.mjs";
import { onTermination, port, userOf } from "./settings.mjs";

const AUTH_MS = 10_000;
const PING_MS = 25_000;
// Who reads nothing until so much waits is cut off; it would cost the others their memory.
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

// User id → { sockets, joined }. `joined` resolves when what is sent to the user reaches this process.
const users = new Map();

/** To this process' sockets of the users. `text` is a buffer: what the frame holds. */
export function deliver(userIds, text) {
  let frame;
  for (const userId of userIds) {
    for (const socket of users.get(userId)?.sockets ?? []) {
      frame ??= frameOf(text);
      if (socket.bufferedAmount > MAX_BUFFERED_BYTES) socket.terminate();
      // As Socket.IO does it, since `ws` has no public way to send a frame that is built already;
      // it saves 5 to 10 % of what `send` costs.
      else if (socket.readyState === socket.OPEN) socket._sender.sendFrame(frame);
    }
  }
}

function frameOf(text) {
  const options = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false };
  return [Buffer.concat(Sender.frame(text, options))];
}

/**
 * @param route the peer's way from a message to its recipients' processes:
 *   `send(recipientIds, text)`, and `join(userId)`, `leave(userId)` at a user's first socket here and
 *   after the last; `close()` at the end. Each may return a promise.
 */
export function listen(route) {
  const http = createServer((_request, response) => response.writeHead(404).end());
  const server = new WebSocketServer({
    server: http,
    path: "/ws",
    perMessageDeflate: false,
    maxPayload: 1024 * 1024,
  });
  server.on("connection", (socket) => serve(socket, route));
  setInterval(() => dropTheDead(server), PING_MS);
  onTermination(async () => {
    const closed = new Promise((resolve) => http.close(resolve));
    for (const socket of server.clients) socket.close(1001);
    // Until the last of them has gone, its user's leaving included.
    await closed;
    await route.close();
  });
  http.listen(port, "127.0.0.1", () => console.log("ready"));
}

function dropTheDead(server) {
  for (const socket of server.clients) {
    if (!socket.isAlive) socket.terminate();
    socket.isAlive = false;
    socket.ping();
  }
}

function serve(socket, route) {
  const deadline = setTimeout(() => socket.close(4401), AUTH_MS);
  socket.isAlive = true;
  socket.on("pong", () => {
    socket.isAlive = true;
  });
  socket.on("error", () => socket.terminate());
  socket.on("close", () => {
    clearTimeout(deadline);
    if (socket.userId !== undefined) leave(socket, route);
  });
  socket.on("message", async (text) => {
    let request;
    try {
      request = JSON.parse(text);
    } catch {
      return socket.close(4400);
    }
    const data = await handle(socket, route, request).catch(() => refusal("unavailable"));
    if (data === undefined) return;
    if (socket.userId !== undefined) clearTimeout(deadline);
    if (request.id !== undefined) socket.send(JSON.stringify({ event: request.event, id: request.id, data }));
  });
}

/** The reply's data; undefined where the socket was closed instead. */
async function handle(socket, route, { event, data }) {
  if (event === "authenticate") return authenticate(socket, route, data?.token);
  if (socket.userId === undefined) return refusal("unauthenticated");
  if (event !== "send_message") return refusal("unknown_event");
  const error = fault(data);
  if (error) return refusal(error);
  const recipientIds = [...new Set(data.recipientIds)];
  const push = { event: "message", data: pushOf(socket.userId, { ...data, recipientIds }) };
  await route.send(recipientIds, Buffer.from(JSON.stringify(push)));
  return receipt();
}

async function authenticate(socket, route, token) {
  if (socket.userId !== undefined) return refusal("authenticated already");
  let userId;
  try {
    userId = await userOf(token);
  } catch {
    return socket.close(4401);
  }
  if (socket.readyState !== socket.OPEN) return;
  await join(socket, userId, route);
  const data = { user: { userId } };
  socket.send(JSON.stringify({ event: "connected", data }));
  return data;
}

function join(socket, userId, route) {
  socket.userId = userId;
  let user = users.get(userId);
  if (user === undefined) {
    user = { sockets: new Set(), joined: route.join(userId) };
    users.set(userId, user);
  }
  user.sockets.add(socket);
  return user.joined;
}

function leave(socket, route) {
  const { sockets } = users.get(socket.userId);
  sockets.delete(socket);
  if (sockets.size > 0) return;
  users.delete(socket.userId);
  route.leave(socket.userId);
}
