"""One sender at work: each message again, under its id, until it is answered."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.faults.record import Record, Sent

#: Between two messages of one sender, in seconds: the load is steady, whatever the machine.
PACE_SECONDS = 0.05

#: An event and its data; raises ConnectionError where no reply came.
Request = Callable[[str, Any], Awaitable[Any]]


async def keep_sending(
    record: Record,
    number: int,
    request: Request,
    user_ids: Sequence[str],
    *,
    going: Callable[[], bool],
) -> None:
    for count in itertools.count():
        if not going():
            return
        recipients = tuple(random.sample(user_ids, random.choice([1, 1, 2, 5])))
        sent = Sent(f"{number}-{count}", number, count, recipients)
        record.sent[sent.message_id] = sent
        receipt = await _until_answered(record, request, sent)
        sent.answered = time.monotonic()
        sent.accepted = frozenset(receipt["recipients"]["sent"] + receipt["recipients"]["queued"])
        await asyncio.sleep(PACE_SECONDS)


async def _until_answered(record: Record, request: Request, sent: Sent) -> Any:
    data = {
        "recipientIds": list(sent.recipients),
        "message": "x" * 60,
        "messageId": sent.message_id,
    }
    while True:
        try:
            reply = await request("send_message", data)
        except ConnectionError:
            record.refusals["connection lost"] += 1
            await asyncio.sleep(PACE_SECONDS)
            continue
        if "recipients" in reply:
            return reply
        assert "retryAfterMs" in reply, reply
        record.refusals[reply["code"]] += 1
        await asyncio.sleep(min(reply["retryAfterMs"] / 1000, 0.5))
