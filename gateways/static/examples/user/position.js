// How far this page has read: what it tells the gateway when it comes back, so that it gets exactly
// what came after, and how it knows a message that it has already.

export class Position {
  #userId = null;
  #sessionId = null;
  #epoch = null;
  seq = 0;

  /** Of another user there is nothing to resume. */
  resumeFor(userId) {
    return this.#epoch && userId === this.#userId ? { epoch: this.#epoch, seq: this.seq } : null;
  }

  /** Takes a `connected`. Returns whether it began something: a session, or another epoch. */
  arrived({ user, sessionId, epoch, seq, missed }) {
    if (sessionId === this.#sessionId && epoch === this.#epoch) return false;
    [this.#userId, this.#sessionId, this.#epoch] = [user.userId, sessionId, epoch];
    // `seq` is the newest there is; what was missed is on its way.
    this.seq = seq - missed;
    return true;
  }

  /** A broadcast has no seq: it is stored nowhere, and comes once. */
  isNew({ seq }) {
    if (seq === undefined) return true;
    if (seq <= this.seq) return false;
    this.seq = seq;
    return true;
  }
}
