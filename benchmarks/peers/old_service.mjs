// The old service's way: for every recipient, KEYS finds the sessions in Redis, each is read, and each
// is sent to by its socket's id; one after the other.
//
// That service was a NestJS gateway. This is Socket.IO without NestJS, so it flatters the old service.
import { createAdapter } from "@socket.io/redis-adapter";

import { fault, pushOf, receipt, refusal } from "./messages.mjs";
import { connectRedis } from "./redis.mjs";
import { createIo, listen } from "./socketio_server.mjs";

const SESSION_SECONDS = 86_400;

const redis = await connectRedis();
const subscriber = await connectRedis();
const io = createIo({
  adapter: createAdapter(redis, subscriber),
  // NestJS leaves both on; tests/deploy/test_migration.py has clients of either.
  transports: ["polling", "websocket"],
});

async function socketIdsOf(userId) {
  const ids = [];
  for (const key of await redis.keys(`user:${userId}:session:*`)) {
    const session = await redis.get(key);
    // It may have ended since.
    if (session !== null) ids.push(JSON.parse(session).socketId);
  }
  return ids;
}

async function send(senderId, request) {
  for (const recipientId of request.recipientIds) {
    const push = pushOf(senderId, { ...request, recipientIds: [recipientId] });
    for (const socketId of await socketIdsOf(recipientId)) io.to(socketId).emit("message", push);
  }
}

io.on("connection", async (socket) => {
  const { userId } = socket.data;
  const key = `user:${userId}:session:${socket.id}`;
  socket.on("disconnect", () => redis.del(key));
  socket.on("send_message", async (request, answer) => {
    const error = fault(request);
    if (error) return answer?.(refusal(error));
    await send(userId, request);
    answer?.(receipt());
  });
  const session = { userId, socketId: socket.id, connectedAt: new Date().toISOString() };
  await redis.set(key, JSON.stringify(session), { expiration: { type: "EX", value: SESSION_SECONDS } });
  socket.emit("connected", { user: { userId } });
});

await subscriber.ping();
listen(io, () => Promise.all([redis.close(), subscriber.close()]));
