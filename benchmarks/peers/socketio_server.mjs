// Socket.IO as its peers share it: tokens, a room for each user, one emit for all recipients.
import { createServer } from "node:http";

import { Server } from "socket.io";

import { fault, pushOf, receipt, refusal } from "./messages.mjs";
import { onTermination, port, userOf } from "./settings.mjs";

export function createIo(options = {}) {
  const io = new Server(createServer(), { transports: ["websocket"], serveClient: false, ...options });
  // Socket.IO's documentation on memory: nothing here asks for the handshake's request again, and it
  // would be kept as long as its connection.
  io.engine.on("connection", (connection) => {
    connection.request = null;
  });
  io.use(async (socket, next) => {
    try {
      socket.data.userId = await userOf(socket.handshake.auth.token);
      next();
    } catch {
      next(new Error("unauthenticated"));
    }
  });
  return io;
}

/** One emit, whatever the number of recipients: a packet that is encoded and published once. */
export function serveRooms(io) {
  io.on("connection", (socket) => {
    const { userId } = socket.data;
    socket.join(`user:${userId}`);
    socket.on("send_message", (request, answer) => {
      const error = fault(request);
      if (error) return answer?.(refusal(error));
      const rooms = request.recipientIds.map((id) => `user:${id}`);
      io.to(rooms).emit("message", pushOf(userId, request));
      answer?.(receipt());
    });
    socket.emit("connected", { user: { userId } });
  });
}

/** `close` is called when no socket is left. */
export function listen(io, close = () => {}) {
  onTermination(async () => {
    await io.close();
    await close();
  });
  io.httpServer.listen(port, "127.0.0.1", () => console.log("ready"));
}
