"""What an ended connection leaves to Python's collector: nothing. Connections live long enough to
be counted as old, and to the old the collector comes once in hours.
"""

import gc
from collections.abc import Iterator

import pytest

from gateways.server.http import HttpProtocol, SecuredCycle
from gateways.server.strict import StrictProtocol
from gateways.server.websocket import WebSocketProtocol
from tests.gateways.server.client import CLOSE, TEXT, close, masked, raw, tcp
from tests.gateways.server.conftest import Gateway, until

KINDS = (HttpProtocol, SecuredCycle, StrictProtocol, WebSocketProtocol)


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, KINDS)]


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("goodbye", [True, False])
async def test_a_websocket(gateway: Gateway, *, goodbye: bool) -> None:
    for _ in range(3):
        async with raw(gateway) as client:
            client.writer.write(masked(TEXT, b"hello"))
            assert await client.frame() == (TEXT, b"hello")
            assert left()
            if goodbye:
                client.writer.write(close(1000))
                assert (await client.frame())[0] == CLOSE
        await gateway.ended()
    await gateway.gone()
    gateway.seen.clear()
    await until(lambda: not left())


@pytest.mark.usefixtures("collector_off")
async def test_a_request(gateway: Gateway) -> None:
    for _ in range(3):
        async with tcp(gateway) as client:
            client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
            assert left()
    await gateway.gone()
    await until(lambda: not left())
