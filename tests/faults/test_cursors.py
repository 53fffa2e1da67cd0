"""Clients that come back from where nothing leads on, while messages for them keep coming."""

import asyncio
import itertools
from typing import Any

import pytest

from tests.e2e.client import Client, dial_as
from tests.faults.conftest import Field
from tests.faults.load import load

KEPT = 50


async def keep_sending(alice: Client, user_id: str) -> None:
    for number in itertools.count():
        receipt = await alice.message(user_id, str(number))
        assert receipt["recipients"]["failed"] == []


async def come_back(field: Field, resume: dict[str, Any]) -> tuple[Any, list[int]]:
    """What `connected` said, and the seqs of its history and of fifty messages after it."""
    client = await dial_as(field.urls[1], "late", resume=resume)
    (connected,) = client.seen("connected")
    await client.pushed("message", connected["missed"] + 50)
    await client.socket.close()
    return connected, [message["seq"] for message in client.seen("message")]


def cursor(newest: int, reason: str) -> int:
    return {"trimmed": newest - KEPT - 20, "ahead": newest + 10_000, "expired": 1}[reason]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        pytest.param({"INBOX_MAX_MESSAGES": str(KEPT)}, "trimmed", id="older than the trim"),
        pytest.param({"INBOX_MAX_MESSAGES": str(KEPT)}, "ahead", id="ahead"),
        pytest.param({"INBOX_TTL": "1"}, "expired", id="expired"),
    ],
)
async def test_a_cursor_is(field: Field, reason: str) -> None:
    """It is said, and what is there follows without a hole, and then what is new."""
    late = await dial_as(field.urls[0], "late")
    (connected,) = late.seen("connected")
    await late.socket.close()
    alice = await dial_as(field.urls[0], "alice")
    async with load(field.urls) as at_work:
        for number in range(3 * KEPT):
            await alice.message("late", f"before {number}")
        if reason == "expired":
            await asyncio.sleep(1.1)
        busy = asyncio.create_task(keep_sending(alice, "late"))
        for round_ in range(5):
            newest = 3 * KEPT + 50 * round_
            resume = {"epoch": connected["epoch"], "seq": cursor(newest, reason)}
            start, seqs = await come_back(field, resume)
            assert (start["recovered"], start["reason"]) == (False, reason)
            assert start["epoch"] == connected["epoch"]
            assert start["missed"] <= KEPT or reason == "expired"
            first = start["seq"] - start["missed"] + 1
            assert seqs == list(range(first, first + len(seqs)))
        # From where it stands it goes on as if nothing had been.
        start, onward = await come_back(field, {"epoch": start["epoch"], "seq": seqs[-1]})
        assert start["recovered"]
        assert onward[0] == seqs[-1] + 1
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await at_work.progress(100)
        assert (await at_work.finish()).faults() == []
    await alice.socket.close()
