// A connection that outlives its sockets: it comes back by itself, with a pause that grows and is
// spread, so that many clients do not return at once; requests find their replies by their ids.
//
// Events: "state" (detail: see #become), "push" ({event, data}), "frame" ({direction, ...}).

import { closeWords, comesBack, SESSION_EXPIRED_WORDS } from "./close_codes.js";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;
// A gateway that is there but stuck is as good as none.
const REPLY_MS = 20_000;
const SUBPROTOCOL = "scarfall.v1";

/** The gateway refused a request: it answered with a failure. */
export class RequestFailed extends Error {
  constructor({ code, error, retryAfterMs, ref }) {
    super(ref ? `${error} (ref ${ref})` : error);
    Object.assign(this, { code, retryAfterMs });
  }
}

/** The socket closed before the reply came: the request may have been carried out, or not. */
export class ConnectionLost extends Error {
  constructor(closeCode) {
    super("The connection was lost before the answer came.");
    this.closeCode = closeCode;
  }
}

export class Connection extends EventTarget {
  #greet;
  #socket = null;
  #replies = new Map();
  #lastId = 0;
  #attempts = 0;
  #retry = null;
  #shutdownMs = 0;
  #refused = false;
  #lastWords = "";

  /** `greet` authenticates each new socket; it raises RequestFailed where that is refused. */
  constructor(greet) {
    super();
    this.#greet = greet;
    this.state = "idle";
  }

  get online() {
    return this.state === "online";
  }

  /** Whether there is a connection, or will be one again without anybody's doing. */
  get wanted() {
    return this.state !== "idle" && this.state !== "ended";
  }

  open() {
    this.close();
    this.#attempts = 0;
    this.#connect();
  }

  /** A goodbye: to friends the user is offline at once. */
  close() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#drop(1000);
    if (socket) {
      socket.close(1000);
      this.#note("closed by this page (1000)");
    }
    if (this.state !== "idle") this.#become("idle");
  }

  /** The reply's data. Raises RequestFailed, ConnectionLost. */
  request(event, data = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(new ConnectionLost(1006));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const overdue = setTimeout(() => {
        this.#replies.delete(id);
        reject(new ConnectionLost(1006));
      }, REPLY_MS);
      this.#replies.set(id, { resolve, reject, overdue });
      const text = JSON.stringify({ event, id, data });
      this.#socket.send(text);
      this.#frame("out", { event, id, data }, text.length);
    });
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#refused = false;
    this.#lastWords = "";
    this.#become("connecting");
    const mine = (handle) => (event) => socket === this.#socket && handle(event);
    socket.onopen = mine(() => this.#opened(socket));
    socket.onmessage = mine(({ data }) => this.#received(data));
    socket.onclose = mine(({ code, reason }) => this.#closed(code, reason));
  }

  async #opened(socket) {
    this.#note("connected");
    try {
      await this.#greet();
    } catch (error) {
      // Where the gateway said `authentication_error`, it closes the socket itself, and says why.
      if (socket !== this.#socket || this.#refused || !(error instanceof RequestFailed)) return;
      this.#drop(1000);
      socket.close(1000);
      if (error.retryAfterMs === undefined) this.#become("ended", { why: error.message });
      else this.#comeBack(error.message, error.retryAfterMs);
      return;
    }
    if (socket !== this.#socket) return;
    this.#attempts = 0;
    this.#become("online");
  }

  #received(text) {
    const frame = JSON.parse(text);
    const { event, id, data } = frame;
    this.#frame("in", frame, text.length);
    if (id !== undefined) {
      const waiting = this.#replies.get(id);
      this.#replies.delete(id);
      clearTimeout(waiting?.overdue);
      if (data?.status === "error" && data.code) waiting?.reject(new RequestFailed(data));
      else waiting?.resolve(data);
      return;
    }
    if (event === "server_shutdown") this.#shutdownMs = data.retryAfterMs;
    if (event === "session_expired") this.#lastWords = SESSION_EXPIRED_WORDS[data.reason] ?? data.reason;
    if (event === "authentication_error") {
      this.#refused = true;
      this.#lastWords = data.error;
    }
    this.#tell("push", { event, data });
  }

  #closed(code, reason) {
    this.#note(reason ? `closed with ${code}: ${reason}` : `closed with ${code}`);
    this.#drop(code);
    const why = this.#lastWords || reason || closeWords(code);
    if (comesBack(code)) this.#comeBack(why, this.#shutdownMs, code);
    else this.#become("ended", { code, why });
    this.#shutdownMs = 0;
  }

  #comeBack(why, leastMs = 0, code = undefined) {
    const longest = Math.min(FIRST_RETRY_MS * 2 ** this.#attempts++, LONGEST_RETRY_MS);
    const pause = leastMs + longest * (0.5 + Math.random() / 2);
    this.#become("waiting", { code, why, until: Date.now() + pause });
    this.#retry = setTimeout(() => this.#connect(), pause);
  }

  #drop(code) {
    this.#socket = null;
    for (const { reject, overdue } of this.#replies.values()) {
      clearTimeout(overdue);
      reject(new ConnectionLost(code));
    }
    this.#replies.clear();
  }

  /** `code` and `why` with "waiting" and "ended"; `until` with "waiting", in ms. */
  #become(state, detail = {}) {
    this.state = state;
    this.#tell("state", { state, ...detail });
  }

  #frame(direction, frame, length) {
    this.#tell("frame", { direction, frame, length });
  }

  #note(note) {
    this.#tell("frame", { direction: "note", note });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
