// What the environment tells every Node.js peer, and whose tokens they take.
import { jwtVerify } from "jose";

export const port = Number(process.env.PORT);
export const redisUrl = process.env.REDIS_URL;
const secret = new TextEncoder().encode(process.env.JWT_SECRET);

/** Rejects where the token is not good. */
export async function userOf(token) {
  const { payload } = await jwtVerify(token, secret, {
    algorithms: ["HS256"],
    requiredClaims: ["sub", "exp"],
  });
  return payload.sub;
}

// A client that does not answer the closing of its connection is waited for no longer.
const CLOSE_MS = 3000;

/** `close` ends the server's sockets and Redis connections. */
export function onTermination(close) {
  process.once("SIGTERM", async () => {
    setTimeout(() => process.exit(0), CLOSE_MS);
    await close();
    process.exit(0);
  });
}
