// `ws` with Redis pub/sub.
//
// A message to one user goes to that user's channel, which only the processes that have the user
// subscribe; so processes don't get each other's traffic. A message to several goes out once, on a
// channel that every process subscribes: with the frame is said whom it is for. (One PUBLISH for each
// of ten recipients costs more than a process' look at ten names.) Socket.IO's adapter does the same.
import { connectRedis } from "./redis.mjs";
import { deliver, listen } from "./ws_server.mjs";

const EVERYBODY = "users";
const NEWLINE = 10; // JSON has none outside its strings, and in them it is escaped
const BUFFERS = true;

const publisher = await connectRedis();
const subscriber = await connectRedis();

function toOne(message, channel) {
  deliver([channel.toString().slice("user:".length)], message);
}

function toSeveral(message) {
  const end = message.indexOf(NEWLINE);
  deliver(JSON.parse(message.subarray(0, end)), message.subarray(end + 1));
}

await subscriber.subscribe(EVERYBODY, toSeveral, BUFFERS);
listen({
  // Resolves when Redis has it: only then the sender is told that it is sent.
  send(recipientIds, text) {
    if (recipientIds.length === 1) return publisher.publish(`user:${recipientIds[0]}`, text);
    const names = Buffer.from(JSON.stringify(recipientIds) + "\n");
    return publisher.publish(EVERYBODY, Buffer.concat([names, text]));
  },
  join: (userId) => subscriber.subscribe(`user:${userId}`, toOne, BUFFERS),
  leave: (userId) => subscriber.unsubscribe(`user:${userId}`, toOne, BUFFERS),
  close: () => Promise.all([publisher.close(), subscriber.close()]),
});
