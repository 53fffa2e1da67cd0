"""What RFC 6455 asks of a server, frame by frame, as whoever tests WebSockets asks it: each case is
what a client sends, what comes back, and with which code it closes.
"""

import asyncio
import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.gateways.server.client import BINARY, CLOSE, PING, PONG, TEXT, Raw, masked, raw, upgrade
from tests.gateways.server.conftest import MAX_MESSAGE_BYTES, Gateway

CONT: Final = 0
MASK: Final = b"\x37\xfa\x21\x3d"
Frames = list[tuple[int, bytes]]


@dataclass(frozen=True)
class Case:
    sent: bytes
    #: Before the close frame.
    answers: Frames
    #: None: the server closes for no reason of its own, but when the client does.
    code: int | None = None
    #: Of so many bytes is each write.
    chop: int | None = None


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    return masked(opcode, payload, fin=fin, rsv=rsv, mask=MASK)


def message(opcode: int, *fragments: bytes, between: bytes = b"") -> bytes:
    """Fragments, with something between any two."""
    last = len(fragments) - 1
    return between.join(
        frame(opcode if n == 0 else CONT, fragment, fin=n == last)
        for n, fragment in enumerate(fragments)
    )


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


async def write(client: Raw, data: bytes, chop: int | None) -> None:
    """In pieces that the server reads one by one, as far as that is in a client's hands."""
    if chop is None:
        client.writer.write(data)
        return
    for start in range(0, len(data), chop):
        client.writer.write(data[start : start + chop])
        await client.writer.drain()
        await asyncio.sleep(0.0005)


async def check(gateway: Gateway, case: Case) -> None:
    async with raw(gateway, "/mirror") as client:
        await write(client, case.sent, case.chop)
        assert [await client.frame() for _ in case.answers] == case.answers
        if case.code is None:
            client.writer.write(closing(1000))
        await closed(client, case.code or 1000)
    await gateway.gone()


async def closed(client: Raw, code: int) -> None:
    """Nothing else comes before the close frame, and nothing after it."""
    ((opcode, payload),) = await client.frames()
    assert (opcode, payload[:2]) == (CLOSE, struct.pack("!H", code))


async def answered(client: Raw, text: bytes) -> None:
    """What came before is dealt with, and the connection as it was."""
    client.writer.write(frame(TEXT, text))
    assert await client.frame() == (TEXT, text)


def cases(named: Iterable[tuple[str, Case]]) -> pytest.MarkDecorator:
    listed = list(named)
    return pytest.mark.parametrize("case", [c for _, c in listed], ids=[name for name, _ in listed])


# --- framing --------------------------------------------------------------------------------------

KINDS: Final = {"text": (TEXT, b"*"), "binary": (BINARY, b"\xfe")}
LENGTHS: Final = (0, 1, 125, 126, 127, 128, 65535, 65536)


def framing() -> Iterator[tuple[str, Case]]:
    for (kind, (opcode, byte)), length in itertools.product(KINDS.items(), LENGTHS):
        echo = [(opcode, byte * length)]
        for chop in (None, 1) if length < 200 else (None, 997, 8192):
            yield f"{kind}-{length}-{chop}", Case(frame(opcode, *echo[0][1:]), echo, chop=chop)
        yield f"{kind}-{length}-too-long", Case(frame(opcode, byte * (65537 + length)), [], 1009)


@cases(framing())
async def test_framing(gateway: Gateway, case: Case) -> None:
    await check(gateway, case)


@pytest.mark.parametrize("head", [b"\x81\xfe\x00\x05", b"\x81\xff" + (5).to_bytes(8)])
async def test_a_length_in_more_bytes_than_it_takes_is_understood(
    gateway: Gateway, head: bytes
) -> None:
    await check(gateway, Case(head + bytes(4) + b"hello", [(TEXT, b"hello")]))


@pytest.mark.parametrize("length", [2**31, 2**32, 2**62, 2**63, 2**64 - 1])
async def test_a_length_beyond_all_bounds_is_not_waited_for(gateway: Gateway, length: int) -> None:
    await check(gateway, Case(b"\x82\xff" + length.to_bytes(8) + MASK, [], 1009))


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
async def test_what_is_not_masked_is_refused(gateway: Gateway, opcode: int) -> None:
    await check(gateway, Case(bytes((0x80 | opcode, 2)) + b"\x03\xe8", [], 1002))


# --- pings and pongs ------------------------------------------------------------------------------


def pings() -> Iterator[tuple[str, Case]]:
    for payload in (b"", b"hello", bytes(range(125)), b"\x00\xff\xfe\xfd"):
        yield f"of-{len(payload)}", Case(frame(PING, payload), [(PONG, payload)])
        chopped = Case(frame(PING, payload), [(PONG, payload)], chop=1)
        yield f"of-{len(payload)}-chopped", chopped
    yield "of-126", Case(frame(PING, bytes(126)), [], 1002)
    yield "pong-of-126", Case(frame(PONG, bytes(126)), [], 1002)
    ten = [bytes((n,)) * n for n in range(10)]
    in_a_row = b"".join(frame(PING, payload) for payload in ten)
    yield "ten", Case(in_a_row, [(PONG, payload) for payload in ten])
    yield "ten-chopped", Case(in_a_row, [(PONG, payload) for payload in ten], chop=1)
    yield "unasked-pong", Case(frame(PONG), [])
    yield "unasked-pong-of-5", Case(frame(PONG, b"hello"), [])
    ping_after = Case(frame(PONG, b"x") + frame(PING, b"y"), [(PONG, b"y")])
    yield "a-ping-after-a-pong", ping_after


@cases(pings())
async def test_pings_and_pongs(gateway: Gateway, case: Case) -> None:
    await check(gateway, case)


# --- what is reserved -----------------------------------------------------------------------------

RESERVED_OPCODES: Final = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)


def reserved() -> Iterator[tuple[str, Case]]:
    for rsv, opcode in itertools.product(range(1, 8), (TEXT, BINARY, PING, PONG, CLOSE)):
        payload = b"\x03\xe8" if opcode == CLOSE else b"hello"
        yield f"bits-{rsv}-{opcode}", Case(frame(opcode, payload, rsv=rsv), [], 1002)
    for opcode, payload in itertools.product(RESERVED_OPCODES, (b"", b"hello")):
        yield f"opcode-{opcode}-{len(payload)}", Case(frame(opcode, payload), [], 1002)
        chopped = Case(frame(opcode, payload), [], 1002, chop=1)
        yield f"opcode-{opcode}-{len(payload)}-chopped", chopped


@cases(reserved())
async def test_what_is_reserved_is_refused(gateway: Gateway, case: Case) -> None:
    await check(gateway, case)


@pytest.mark.parametrize("wrong", [frame(TEXT, b"x", rsv=4), frame(3), frame(11, b"x")])
async def test_what_is_reserved_is_refused_in_the_midst_of_others(
    gateway: Gateway, wrong: bytes
) -> None:
    """What came before is answered, what comes after is not looked at."""
    async with raw(gateway, "/mirror") as client:
        await answered(client, b"before")
        client.writer.write(wrong + frame(TEXT, b"after") + frame(PING))
        await closed(client, 1002)


# --- fragments ------------------------------------------------------------------------------------


def fragments() -> Iterator[tuple[str, Case]]:
    echo, ping, pong = [(TEXT, b"onetwo")], frame(PING, b"p"), (PONG, b"p")
    whole = message(TEXT, b"one", b"two")
    yield "ping", Case(frame(PING, b"x", fin=False) + frame(CONT, b"y"), [], 1002)
    yield "pong", Case(frame(PONG, b"x", fin=False) + frame(CONT, b"y"), [], 1002)
    yield "close", Case(frame(CLOSE, b"\x03\xe8", fin=False), [], 1002)
    for chop in (None, 1, 7):
        yield f"two-{chop}", Case(whole, echo, chop=chop)
        yield f"two-{chop}-binary", Case(message(BINARY, b"\xff", b"\xfe"), [(BINARY, b"\xff\xfe")])
        between = message(TEXT, b"one", b"two", between=ping)
        yield f"a-ping-between-{chop}", Case(between, [pong, *echo], chop=chop)
    six = message(TEXT, *(bytes((c,)) for c in b"onetwo"), between=ping)
    yield "pings-between-all", Case(six, [pong] * 5 + echo)
    yield "pings-between-all-chopped", Case(six, [pong] * 5 + echo, chop=1)
    pongs = message(TEXT, b"one", b"two", between=frame(PONG, b"unasked"))
    yield "a-pong-between", Case(pongs, echo)
    yield "empty", Case(message(TEXT, b"", b"", b""), [(TEXT, b"")])
    yield "empty-but-one", Case(message(TEXT, b"", b"x", b""), [(TEXT, b"x")])
    yield "empty-binary", Case(message(BINARY, b"", b""), [(BINARY, b"")])
    for fin in (True, False):
        first = frame(CONT, b"no beginning", fin=fin)
        yield f"no-beginning-{fin}", Case(first + frame(TEXT, b"x"), [], 1002)
        yield f"no-beginning-{fin}-chopped", Case(first + frame(TEXT, b"x"), [], 1002, chop=1)
        yield f"no-beginning-{fin}-empty", Case(frame(CONT, fin=fin), [], 1002)
    begun = frame(TEXT, b"one", fin=False)
    for opcode, fin in itertools.product((TEXT, BINARY), (True, False)):
        twice = begun + frame(opcode, b"again", fin=fin)
        yield f"begun-twice-{opcode}-{fin}", Case(twice, [], 1002)
    yield "two-messages", Case(whole * 2, echo * 2)
    yield "two-kinds", Case(whole + message(BINARY, b"a", b"b"), [*echo, (BINARY, b"ab")])


@cases(fragments())
async def test_fragments(gateway: Gateway, case: Case) -> None:
    await check(gateway, case)


async def test_after_a_message_in_fragments_none_goes_on(gateway: Gateway) -> None:
    async with raw(gateway, "/mirror") as client:
        client.writer.write(message(TEXT, b"one", b"two"))
        assert await client.frame() == (TEXT, b"onetwo")
        client.writer.write(frame(CONT, b"three", fin=False))
        await closed(client, 1002)


async def test_fragments_without_an_end_end_at_the_bound(gateway: Gateway) -> None:
    half = frame(CONT, bytes(MAX_MESSAGE_BYTES // 2), fin=False)
    sent = frame(BINARY, b"", fin=False) + half * 2 + frame(CONT, b"x", fin=False)
    await check(gateway, Case(sent, [], 1009))


# --- UTF-8 ----------------------------------------------------------------------------------------

VALID: Final = (
    "κόσμε", "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe",
    "\uffff", "\U00010000", "\U0010ffff", "\U0001fffe", "Hello-µ@ßöäüàá-UTF-8!!", "日本語 🂡",
)  # fmt: skip
INVALID: Final = (
    "80", "bf", "80bf80bf", "fe", "ff",  # no first bytes
    "c2", "e0a0", "e180", "f09080", "f18080", "c220", "e18020", "f1808020",  # cut off
    "c080", "c1bf", "e08080", "e09fbf", "f0808080", "f08fbfbf",  # longer than they need be
    "eda080", "edadbf", "edbfbf", "eda080edb080",  # halves of pairs
    "f4908080", "f5808080", "f7bfbfbf", "f888808080", "fc8480808080",  # beyond the last character
)  # fmt: skip


def utf8() -> Iterator[tuple[str, Case]]:
    for number, text in enumerate(VALID):
        data = f"a{text}z".encode()
        for chop in (None, 1):
            yield f"valid-{number}-{chop}", Case(frame(TEXT, data), [(TEXT, data)], chop=chop)
        in_bytes = message(TEXT, *(bytes((byte,)) for byte in data))
        yield f"valid-{number}-fragments", Case(in_bytes, [(TEXT, data)])
    for digits in INVALID:
        wrong = bytes.fromhex(digits)
        for data in (wrong, b"valid" + wrong, "κόσμε".encode() + wrong + b"!"):
            name = f"invalid-{digits}-{len(data)}"
            yield name, Case(frame(TEXT, data), [], 1007)
            in_bytes = message(TEXT, *(bytes((byte,)) for byte in data))
            yield f"{name}-fragments", Case(in_bytes, [], 1007)
        yield f"binary-{digits}", Case(frame(BINARY, wrong), [(BINARY, wrong)])
    every = frame(TEXT, "κ".encode() + bytes.fromhex("f4908080") + b"x")
    yield "invalid-chopped", Case(every, [], 1007, chop=1)


@cases(utf8())
async def test_text_is_utf8(gateway: Gateway, case: Case) -> None:
    await check(gateway, case)


@pytest.mark.parametrize("digits", INVALID[:5] + INVALID[10:])
async def test_what_is_no_text_is_not_waited_for(gateway: Gateway, digits: str) -> None:
    """The fragment that shows it is the last one that comes."""
    start = frame(TEXT, "κόσ".encode()[:-1], fin=False)
    wrong = frame(CONT, b"\x83" + bytes.fromhex(digits), fin=False)
    await check(gateway, Case(start + wrong, [], 1007))


# --- closing --------------------------------------------------------------------------------------

GOOD_CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD_CODES: Final = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
REASON: Final = "ü".encode() * 61 + b"!"


@pytest.mark.parametrize("reason", [b"", b"bye", REASON])
@pytest.mark.parametrize("code", GOOD_CODES)
async def test_a_close_frame_is_answered_with_itself(
    gateway: Gateway, code: int, reason: bytes
) -> None:
    async with raw(gateway, "/mirror") as client:
        client.writer.write(closing(code, reason))
        assert await client.frames() == [(CLOSE, struct.pack("!H", code) + reason)]
    assert (await gateway.ended()).disconnect["code"] == code


async def test_a_close_frame_without_a_code_is_answered_with_one_without(gateway: Gateway) -> None:
    async with raw(gateway, "/mirror") as client:
        client.writer.write(frame(CLOSE))
        assert await client.frames() == [(CLOSE, b"")]
    assert (await gateway.ended()).disconnect["code"] == 1005


def bad_closes() -> Iterator[tuple[str, Case]]:
    for code in BAD_CODES:
        yield f"{code}", Case(closing(code), [], 1002)
        yield f"{code}-with-a-reason", Case(closing(code, b"why"), [], 1002)
    yield "half-a-code", Case(frame(CLOSE, b"\x03"), [], 1002)
    yield "a-reason-too-long", Case(closing(1000, REASON + b"x"), [], 1002)
    yield "a-reason-that-is-no-text", Case(closing(1000, b"\xce\xba\xff"), [], 1007)


@cases(bad_closes())
async def test_a_close_frame_that_is_wrong(gateway: Gateway, case: Case) -> None:
    await check(gateway, case)


AFTERWARDS: Final = {
    "a message": frame(TEXT, b"late"),
    "a ping": frame(PING, b"late"),
    "another close": closing(1001),
    "nonsense": b"\xff" * 100,
    "256 KiB": frame(BINARY, bytes(60_000)) * 4,
}


@pytest.mark.parametrize("afterwards", AFTERWARDS.values(), ids=list(AFTERWARDS))
async def test_after_a_close_frame_nothing_is_looked_at(
    gateway: Gateway, afterwards: bytes
) -> None:
    await check(gateway, Case(closing(1000) + afterwards, [], 1000))


async def test_a_close_frame_may_come_in_the_midst_of_a_message(gateway: Gateway) -> None:
    await check(
        gateway, Case(frame(TEXT, b"one", fin=False) + closing(1000) + frame(CONT), [], 1000)
    )


# --- sizes ----------------------------------------------------------------------------------------


def sizes() -> Iterator[tuple[str, Case]]:
    for (kind, (opcode, byte)), size in itertools.product(KINDS.items(), (128, 1024, 8192, 65536)):
        data = byte * MAX_MESSAGE_BYTES
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        yield f"{kind}-fragments-of-{size}", Case(message(opcode, *pieces), [(opcode, data)])
        chopped = Case(frame(opcode, data), [(opcode, data)], chop=size)
        yield f"{kind}-chops-of-{size}", chopped


@cases(sizes())
async def test_the_largest_message_in_pieces(gateway: Gateway, case: Case) -> None:
    await check(gateway, case)


async def test_a_message_in_too_many_pieces_is_abuse(gateway: Gateway) -> None:
    pieces = [b"x"] * 1100
    await check(gateway, Case(message(TEXT, *pieces), [], 4400))


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096, 16384])
async def test_many_messages_are_answered_in_order(gateway: Gateway, size: int) -> None:
    texts = [b"%d" % number + b"*" * size for number in range(200)]
    sent = b"".join(frame(TEXT, text) for text in texts)
    async with raw(gateway, "/mirror") as client:
        writing = asyncio.create_task(write(client, sent, 65536))
        assert [await client.frame() for _ in texts] == [(TEXT, text) for text in texts]
        await writing


# --- compression ----------------------------------------------------------------------------------

OFFERS: Final = (
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate",
    "x-webkit-deflate-frame, permessage-bzip2",
)


@pytest.mark.parametrize("offer", OFFERS)
async def test_compression_is_never_agreed_on(gateway: Gateway, offer: str) -> None:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(upgrade("/mirror", f"Sec-WebSocket-Extensions: {offer}"))
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in answer.lower()
        client = Raw(reader, writer)
        await answered(client, b"plain")
        client.writer.write(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4))  # "Hello"
        await closed(client, 1002)
        writer.close()
