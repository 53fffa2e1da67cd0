// What a token says of itself. Only the gateway can tell whether it is good.

import { clock, inWords } from "../shared/times.js";

/** Its claims; null where it is no JWT. */
export function readToken(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

export function tokenInWords(token) {
  if (!token) return "";
  const claims = readToken(token);
  if (typeof claims?.sub !== "string") return "This does not look like a token.";
  if (!claims.exp) return `${claims.sub}, without an end`;
  const end = claims.exp * 1000;
  const words = end < Date.now() ? `expired ${inWords(end)}` : `expires ${inWords(end)}, at ${clock(end)}`;
  return `${claims.sub}, ${words}`;
}
