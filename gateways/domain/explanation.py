"""Why a user looks as they look, and gets what they get: the store's state, in plain words."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from gateways.config import Config
from gateways.domain.standing import (
    InboxFacts,
    LimitFacts,
    PresenceFacts,
    SessionFacts,
    Standing,
    span,
)
from gateways.store.dossiers import DossierStore

#: What was handed over is told to the store five times a second: so old it is no lag.
ON_ITS_WAY_SECONDS: Final = 2.0


class Verdict(Struct, frozen=True, rename="camel"):
    """One sentence on one subject, and what to do; `fine` where there is nothing to explain."""

    subject: str
    fine: bool
    because: str
    advice: str | None = None


class Explanation(Struct, frozen=True, rename="camel"):
    """`nodes`: which a message to the user would nudge now. Unknown users have no facts."""

    user_id: str
    known: bool
    verdicts: Sequence[Verdict]
    sessions: Sequence[SessionFacts] = ()
    presence: PresenceFacts | None = None
    inbox: InboxFacts | None = None
    limits: Sequence[LimitFacts] = ()
    nodes: Sequence[str] = ()


class Explanations:
    def __init__(self, dossiers: DossierStore, config: Config) -> None:
        """`config` is taken for that of all nodes."""
        self._dossiers = dossiers
        self._config = config

    async def of(self, user_id: str) -> Explanation:
        """Raises StoreUnavailable."""
        dossier = await self._dossiers.of(user_id)
        if dossier is None:
            return Explanation(user_id, known=True, verdicts=[_BROKEN])
        if not dossier.exists:
            return Explanation(user_id, known=False, verdicts=[_UNKNOWN])
        standing = Standing(dossier, self._config)
        reasons = _Reasons(standing, self._config)
        return Explanation(
            user_id,
            known=True,
            verdicts=[reasons.presence(), *reasons.messages(), *reasons.sending()],
            sessions=standing.sessions,
            presence=standing.presence,
            inbox=standing.inbox,
            limits=standing.limits,
            nodes=standing.nodes,
        )


_UNKNOWN = Verdict(
    "user",
    fine=False,
    because="Unknown: this id never connected or wrote, nobody wrote to it, nobody's list has it.",
    advice="Compare it with the `sub` of the user's token, character by character.",
)
_BROKEN = Verdict(
    "user",
    fine=False,
    because="One of the user's keys in Redis is of another kind than the gateway makes it.",
    advice="Find out what else writes below REDIS_PREFIX, and delete that key.",
)


class _Reasons:
    def __init__(self, standing: Standing, config: Config) -> None:
        self._standing = standing
        self._config = config

    def presence(self) -> Verdict:
        standing, presence = self._standing, self._standing.presence
        if standing.alive:
            because, advice = self._connected()
        elif presence.online:
            because, advice = self._haunting() if standing.sessions else self._vacant()
        else:
            because, advice = self._offline()
        return Verdict("presence", advice is None, because, advice)

    # Each: why it looks so, and what to do; None where all is well.

    def _connected(self) -> tuple[str, str | None]:
        presence = self._standing.presence
        if not presence.online:
            because = "Looks offline though a session stands: what the store has disagrees."
            return because, "Have the client connect anew; if it comes again, report a defect."
        if not presence.announced:
            because = "Looks offline still: is online, but friends have not been told yet."
            return because, f"Ask again in a moment: it is repeated until told, {self._sweep()}."
        if not presence.friend_of:
            because = "Looks offline to all: is online, but on nobody's list, so nobody is told."
            return because, "Have the platform's service set the friends, or run import_friends."
        if not presence.in_directory:
            because = "Looks online to friends, but is not in the list of everybody online."
            return because, f"cleanup_sessions repairs it at once, {self._sweep()}."
        return "Looks online, and is.", None

    def _haunting(self) -> tuple[str, str]:
        session = self._standing.sessions[0]
        return (
            f"Looks online, but no socket can be there: node {session.node} {session.node_says}."
        ), "Nothing: then the user looks offline, unless the client reconnects by itself."

    def _vacant(self) -> tuple[str, str]:
        standing, node_id = self._standing, self._standing.presence.vacated_by
        since, left = standing.grace_seconds
        if node_id is not None and standing.lives(node_id) and left > -ON_ITS_WAY_SECONDS:
            return (
                f"Looks online still: the last session dropped {span(since)} ago without a"
                f" goodbye, and the grace ends in {span(max(0.0, left))}."
            ), "Nothing: then the user looks offline, unless the client is back."
        who = f"node {node_id} {standing.fate(node_id)}" if node_id else "no node is to end it"
        return (
            f"Looks online without a session since {span(since)}: {who}."
        ), f"cleanup_sessions ends it at once, {self._sweep()}."

    def _offline(self) -> tuple[str, str]:
        presence = self._standing.presence
        if presence.last_seen is None:
            because = "Looks offline because this user has never connected."
            return because, "Compare the id with the `sub` of the user's token."
        if not presence.announced:
            because = "Is offline, but friends were not told yet: to them it may look online."
            return because, f"Ask again in a moment: it is repeated until told, {self._sweep()}."
        because = f"Looks offline because no session stands, since {presence.since}."
        return because, "The client is not connected: `manage.py trace` shows whether it tries."

    def _sweep(self) -> str:
        return f"the sweep does every {span(self._config.session_cleanup_interval_seconds)}"

    def messages(self) -> Iterator[Verdict]:
        standing = self._standing
        if not self._config.inbox_ttl_seconds:
            yield Verdict(
                "messages",
                standing.alive,
                "Gets what comes while connected; nothing is kept, as INBOX_TTL is 0.",
                None if standing.alive else "Have the client connect.",
            )
            return
        if standing.inbox.lost:
            yield self._lost()
        if standing.inbox.waiting:
            yield self._lagging() if standing.alive else self._queued()
        else:
            where = "is handed over at once" if standing.alive else "waits in the inbox"
            yield Verdict(
                "messages", fine=True, because=f"Nothing waits; the next message {where}."
            )

    def _lost(self) -> Verdict:
        inbox, config = self._standing.inbox, self._config
        if inbox.kept >= config.inbox_max_messages:  # only a full one is trimmed
            variable, bound = "INBOX_MAX_MESSAGES", str(config.inbox_max_messages)
        else:
            variable, bound = "INBOX_TTL", span(config.inbox_ttl_seconds)
        return Verdict(
            "messages",
            fine=False,
            because=f"Does not get {_count(inbox.lost)}: gone before they were fetched, since an"
            f" inbox keeps {bound}. At its next resume the client is told so.",
            advice=f"Raise {variable}, if that is too little for how long clients stay away.",
        )

    def _queued(self) -> Verdict:
        inbox = self._standing.inbox
        expiry = inbox.expires_in_seconds
        return Verdict(
            "messages",
            fine=False,
            because=f"Does not get {_count(inbox.waiting)} for want of a session: the oldest waits"
            f" in the inbox since {span(inbox.oldest_waiting_seconds or 0.0)}.",
            advice="Have the client connect: it gets them, in order"
            + (f", for {span(expiry)} yet." if expiry is not None else "."),
        )

    def _lagging(self) -> Verdict:
        inbox = self._standing.inbox
        age = inbox.oldest_waiting_seconds or 0.0
        if age < ON_ITS_WAY_SECONDS:
            return Verdict("messages", True, f"{_count(inbox.waiting)} on the way just now.")
        return Verdict(
            "messages",
            fine=False,
            because=f"Does not get {_count(inbox.waiting)} though a session stands: the oldest"
            f" waits since {span(age)}. The client does not read what it is sent, or its node"
            " missed a nudge.",
            advice=f"Ask again in {span(self._config.reconcile_interval_seconds)}"
            " (RECONCILE_INTERVAL): a node fetches what it missed. If it stays so, end the"
            " session in the admin: the client comes back and resumes.",
        )

    def sending(self) -> Iterator[Verdict]:
        for limit in self._standing.limits:
            if limit.refused_for_seconds:
                yield Verdict(
                    "sending",
                    fine=False,
                    because=f"What the user sends is refused, rate_limited: too many {limit.name},"
                    f" for {span(limit.refused_for_seconds)} yet.",
                    advice=f"Slow the client down, or raise LIMIT_{limit.name.upper()}.",
                )


def _count(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"
