"""Says why a user looks offline, or does not get messages, from what the store has."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from gateways.domain.explanation import Explanation
from gateways.domain.standing import InboxFacts, LimitFacts, PresenceFacts, SessionFacts
from gateways.management import operators
from gateways.management.tables import visible


class Command(BaseCommand):
    help = "Says why a user looks offline, or does not get messages, and what to do about it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--json", action="store_true", help="a JSON object")

    def handle(self, *_args: Any, user: str, json: bool, **_options: Any) -> None:
        explanation = asyncio.run(_explain(operators.user_id(user)))
        if json:
            self.stdout.write(msgspec.json.format(msgspec.json.encode(explanation)).decode())
            return
        for line in _lines(explanation):
            self.stdout.write(visible(line))


async def _explain(user_id: str) -> Explanation:
    async with operators.gateway() as gateway:
        return await gateway.explanations.of(user_id)


def _lines(explanation: Explanation) -> Iterator[str]:
    for verdict in explanation.verdicts:
        yield f"{verdict.subject:<9} {verdict.because}"
        if verdict.advice is not None:
            yield f"{'':9} -> {verdict.advice}"
    if explanation.presence is not None:
        yield ""
        yield from _presence(explanation.presence)
    for session in explanation.sessions:
        yield from _session(session)
    if explanation.inbox is not None:
        yield from _inbox(explanation.inbox)
        yield f"nodes     a message would nudge {' '.join(explanation.nodes) or 'none'}"
    for limit in explanation.limits:
        yield _limit(limit)


def _presence(facts: PresenceFacts) -> Iterator[str]:
    status = "online" if facts.online else "offline"
    since = f" since {facts.since}" if facts.since else ""
    told = "friends were told" if facts.announced else "friends were not told yet"
    yield f"status    {status}{since}, {told}; last seen {facts.last_seen or 'never'}"
    listed = "in" if facts.in_directory else "not in"
    yield (
        f"friends   {facts.friends} on the user's list, who are watched; on the lists of"
        f" {facts.friend_of}, who watch; {listed} the list of everybody online"
    )


def _session(facts: SessionFacts) -> Iterator[str]:
    device = f", device {facts.device_id}" if facts.device_id else ""
    yield (
        f"session   {facts.session_id}{device}, since {facts.connected_at}, last active"
        f" {facts.idle_seconds:.0f} s ago"
    )
    yield f"{'':9} its node {facts.node_says}"


def _inbox(facts: InboxFacts) -> Iterator[str]:
    oldest = "nothing" if facts.oldest_seq is None else f"from seq {facts.oldest_seq} on"
    expiry = facts.expires_in_seconds
    yield (
        f"inbox     epoch {facts.epoch or 'none'}, newest seq {facts.newest_seq}, handed up to"
        f" {facts.handed_seq}, kept {oldest}; {facts.waiting} wait, {facts.lost} were lost"
        + ("" if expiry is None else f"; expires in {expiry:.0f} s")
    )


def _limit(facts: LimitFacts) -> str:
    return f"limit     {facts.left} of {facts.of} {facts.name} left"
