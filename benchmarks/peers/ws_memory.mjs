// `ws` alone: one process, no Redis. Nothing in Node.js that is more than this does with less.
import { deliver, listen } from "./ws_server.mjs";

listen({ send: deliver, join() {}, leave() {}, close() {} });
