// Why a socket was closed, in words, and whether to come back (docs/protocol.md).

const WORDS = {
  1000: "Closed with a goodbye.",
  1001: "The gateway goes away.",
  1005: "Closed without a reason.",
  1006: "No connection. Is the gateway running, and does its CORS_ORIGIN allow this page?",
  1007: "A frame was not UTF-8.",
  1009: "A frame was far too large.",
  1011: "The gateway failed.",
  1012: "The gateway restarts.",
  4400: "Too many frames that were no requests.",
  4401: "Not authenticated: a bad or expired credential, or none in time.",
  4403: "Ended from elsewhere: by another session, a service or an operator.",
  4408: "The session ended: idle for too long, or at its longest life.",
  4413: "A frame was over the limit.",
  4429: "Too many connections.",
  4503: "What the gateway needs does not answer.",
  4508: "This page did not keep up, or its session moved.",
};

export const SESSION_EXPIRED_WORDS = {
  token: "The token has expired. Connect with a fresh one.",
  idle: "There was no request for too long.",
  expired: "The session reached its longest life.",
};

/** Of a resume that could not give everything. */
export const RESUME_WORDS = {
  trimmed: "more messages came than an inbox keeps",
  expired: "some were older than an inbox keeps them",
  epoch: "the gateway's store lost its data",
  ahead: "the gateway's store lost its newest messages",
};

export const closeWords = (code) => WORDS[code] ?? "Closed for a reason that this page does not know.";

/** 44xx: do not come back unchanged. All else: come back, and resume. */
export const comesBack = (code) => code < 4400 || code > 4499;

/** A frame was too large to be read: sending it again would end the same way. */
export const overTooLarge = (code) => code === 1009 || code === 4413;
