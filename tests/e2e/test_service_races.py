"""A service is shut out while it is busy: whatever it is at, it ends, and nothing ends half."""

import asyncio
from typing import Any

import pytest

from tests.e2e.client import (
    Client,
    connect,
    connect_as,
    dial,
    dial_service,
    eventually,
    patiently,
)
from tests.e2e.conftest import Name, Pair
from tests.e2e.services import KEY, eventually_none, manage, registered


@pytest.mark.parametrize("word", ["disable", "reject"])
async def test_no_authentication_that_is_under_way_slips_past(
    platform: Pair, name: Name, word: str
) -> None:
    """Services come all the time, at both gateways, while one command shuts them out."""
    await registered(platform.first, name("rush"))
    urls = [platform.first.internal_url, platform.second.internal_url]
    clients: list[Client] = []
    answers: list[Any] = []
    over = asyncio.Event()

    async def come_and_come(url: str) -> None:
        while not over.is_set():
            clients.append(await dial(url))
            try:
                answers.append(await patiently(clients[-1], name("rush"), KEY))
            except ConnectionError:
                answers.append({"closed": clients[-1].close_code})

    rush = [asyncio.create_task(come_and_come(url)) for url in urls * 2]

    async def many_are_in() -> bool:
        return sum("serviceName" in answer for answer in answers) > 20

    await eventually(many_are_in, "many to come in")
    await manage(platform.second, "service", word, name("rush"))
    let_in_by_then = len(answers)
    over.set()
    await asyncio.gather(*rush)
    assert all(await asyncio.gather(*(_shut_out(client) for client in clients)))
    assert all("serviceName" not in answer for answer in answers[let_in_by_then + len(rush) :])
    await eventually_none(platform.deployment, name("rush"))


async def _shut_out(client: Client) -> bool:
    return await client.closed() == 4403


async def test_what_was_answered_arrived_and_what_came_later_did_not(
    platform: Pair, name: Name
) -> None:
    """Senders at both gateways are shut out in the middle of their sending."""
    await registered(platform.first, name("torrent"))
    recipients = [name("alice"), name("bob")]
    async with (
        connect_as(platform.first.url, recipients[0]) as alice,
        connect_as(platform.second.url, recipients[1]) as bob,
    ):
        answered: list[str] = []
        asked: list[str] = []

        async def send(url: str, sender: int) -> None:
            client = await dial_service(url, name("torrent"), KEY)
            for number in range(1_000_000):
                text = f"{sender}.{number}"
                asked.append(text)
                try:
                    receipt = await client.message(recipients, text)
                except ConnectionError:
                    assert await client.closed() == 4403
                    return
                assert receipt["recipients"]["sent"] == recipients
                answered.append(text)

        urls = [platform.first.internal_url, platform.second.internal_url]
        senders = [asyncio.create_task(send(url, n)) for n, url in enumerate(urls * 2)]

        async def all_are_busy() -> bool:
            return len(answered) > 200

        await eventually(all_are_busy, "all to be busy")
        await manage(platform.second, "service", "disable", name("torrent"))
        async with asyncio.timeout(1):
            await asyncio.gather(*senders)
        for client in (alice, bob):
            await _has(client, set(answered))
            seqs = [message["seq"] for message in client.seen("message")]
            assert seqs == list(range(1, len(seqs) + 1))
            # At most the one that each sender was at may have come in without its answer.
            assert _texts(client) <= set(asked)
            assert len(asked) - len(answered) == len(senders)
    async with connect(urls[0]) as client:
        assert (await client.authenticate_service(name("torrent"), KEY))["code"] == "forbidden"


async def _has(client: Client, texts: set[str]) -> None:
    await client.until(lambda: texts <= _texts(client), "what was answered")


def _texts(client: Client) -> set[str]:
    return {message["message"] for message in client.seen("message")}
