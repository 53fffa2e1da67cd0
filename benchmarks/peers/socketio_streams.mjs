// Socket.IO with its Redis Streams adapter: every emit is one XADD, and a client that comes back gets
// what it missed.
import { setTimeout } from "node:timers/promises";

import { createAdapter } from "@socket.io/redis-streams-adapter";

import { connectRedis } from "./redis.mjs";
import { createIo, listen, serveRooms } from "./socketio_server.mjs";

// The adapter's own connections are duplicates of this one, so they have its name.
const name = `socketio-streams-${process.pid}`;
const redis = await connectRedis({ name });
const adapter = createAdapter(redis, {
  // The default, 10,000, is a second's worth of messages under load: a process that falls behind by
  // more skips what was trimmed, and a client that was away for longer can't recover. About 40 MB.
  maxLen: 100_000,
  // Messages are JSON; otherwise each is searched for buffers.
  onlyPlaintext: true,
});
const io = createIo({ adapter, connectionStateRecovery: {} });
serveRooms(io);

/** The adapter reads the stream from where it ends at the first XREAD, and does not say when that is. */
async function subscriptionsStand() {
  for (;;) {
    const mine = (await redis.clientList()).filter((client) => client.name === name);
    if (mine.some(({ cmd }) => cmd === "xread") && mine.some(({ sub }) => sub === 2)) return;
    await setTimeout(10);
  }
}

await subscriptionsStand();
listen(io, () => redis.close());
