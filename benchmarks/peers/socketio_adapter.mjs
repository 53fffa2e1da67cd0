// Socket.IO with its Redis adapter: every emit is one PUBLISH.
import { createAdapter } from "@socket.io/redis-adapter";

import { connectRedis } from "./redis.mjs";
import { createIo, listen, serveRooms } from "./socketio_server.mjs";

const publisher = await connectRedis();
const subscriber = await connectRedis();
const io = createIo({ adapter: createAdapter(publisher, subscriber) });
serveRooms(io);
// Answers come in order, so the adapter's subscriptions stand when this one is here.
await subscriber.ping();
listen(io, () => Promise.all([publisher.close(), subscriber.close()]));
