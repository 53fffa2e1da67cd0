"""The plain format: whatever comes is a request or an InvalidFrame; whatever goes is JSON."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from gateways.protocol.checks import MAX_SAFE_INTEGER
from gateways.protocol.codec import Inbound
from gateways.protocol.errors import InvalidFrame, InvalidPayload
from gateways.protocol.events import (
    Authenticate,
    CloseSession,
    MessageBody,
    Nothing,
    Page,
    Pong,
    Request,
    SendMessage,
    parse,
)
from gateways.protocol.plain import PlainCodec

codec = PlainCodec()

REQUESTS: list[type[Request]] = [Authenticate, CloseSession, Nothing, Page, SendMessage]

#: Everything Python's own JSON module writes: NaN, infinities, lone surrogates and huge integers
#: among it.
loose_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.just(10**3999),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
strict_text = st.text(st.characters(codec="utf-8"))
strict_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | strict_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strict_text, inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["event", "id", "data", "token", "recipientIds", "message", "metadata", "messageId", "limit"]
)
frames = (
    st.text(st.characters(codec=None))
    | loose_json.map(json.dumps)
    | st.dictionaries(names, loose_json).map(json.dumps)
    | st.fixed_dictionaries({"event": st.text(min_size=1)}, optional={"data": loose_json}).map(
        json.dumps
    )
)


def serve(frame: str) -> Inbound | None:
    """Take the frame as far as the gateway would, whichever event it names."""
    try:
        inbound = codec.decode(frame)
    except InvalidFrame:
        return None
    for struct in REQUESTS:
        try:
            request = parse(inbound.data, struct)
        except InvalidPayload:
            continue
        strictly(msgspec.json.encode(request))
    return inbound


def strictly(encoded: bytes) -> Any:
    """As every client reads it: RFC 8259, without Python's own liberties."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(encoded.decode(), parse_constant=refuse)


@given(frames)
@example("[" * 100_000)
@example('{"event":"x","data":' + "[" * 100_000 + "]" * 100_000 + "}")
@example('{"event":"x","data":{"metadata":' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}}")
@example('{"event":"x","data":{"recipientIds":["a"],"message":"","metadata":{"a":NaN}}}')
@example('{"event":"x","data":{"recipientIds":["a"],"message":"","metadata":{"a":1e400}}}')
@example('{"event":"x","data":{"recipientIds":["a"],"message":"\\ud800"}}')
@example(
    '{"event":"x","data":{"recipientIds":["a"],"message":"","metadata":{"a":%s}}}' % ("9" * 4000)
)
@example(
    '{"event":"x","data":{"recipientIds":["a"],"message":"","metadata":{"a":%s}}}' % ("9" * 5000)
)
@example('{"event":"x","id":%s}' % ("9" * 5000))
@example("\ud800")
@example("")
@example("\x00")
def test_no_frame_raises_anything_but_its_own_failures(frame: str) -> None:
    serve(frame)


@given(frames)
def test_what_was_decoded_can_be_answered_in_json(frame: str) -> None:
    inbound = serve(frame)
    if inbound is not None and inbound.request_id is not None:
        reply = strictly(codec.reply(inbound.event, inbound.request_id, Pong("now")))
        assert reply == {
            "event": inbound.event,
            "id": inbound.request_id,
            "data": {"timestamp": "now"},
        }


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=64),
    st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.text(st.characters(codec="utf-8"), max_size=64)
    | st.none(),
    strict_json,
)
def test_a_request_comes_through_as_it_was_sent(
    event: str, request_id: int | str | None, data: Any
) -> None:
    inbound = codec.decode(json.dumps({"event": event, "id": request_id, "data": data}))
    assert (inbound.event, inbound.request_id) == (event, request_id)
    assert json.loads(bytes(inbound.data)) == ({} if data is None else data)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "null",
        "[]",
        '"event"',
        "{}",
        '{"event":""}',
        '{"event":1}',
        '{"event":"%s"}' % ("e" * 65),
        '{"event":"x","id":1.5}',
        '{"event":"x","id":true}',
        '{"event":"x","id":[]}',
        '{"event":"x","id":"%s"}' % ("i" * 65),
        '{"event":"x","id":9007199254740992}',
        '{"event":"x","data":NaN}',
        '{"event":"x","extra":1}',
        '{"event":"x"} {"event":"y"}',
        '{"event":"x",}',
        '{"event":"\\ud800"}',
    ],
)
def test_what_is_no_request_is_an_invalid_frame(frame: str) -> None:
    with pytest.raises(InvalidFrame):
        codec.decode(frame)


@pytest.mark.parametrize("data", ["", ',"data":null', ',"data": null ', ',"data":{}'])
def test_an_event_without_data_has_an_empty_object(data: str) -> None:
    inbound = codec.decode('{"event":"ping"' + data + "}")
    assert parse(inbound.data, Nothing) == Nothing()


@pytest.mark.parametrize("request_id", [0, -1, "", "seven", "é", 2**53 - 1, None])
def test_ids_of_every_allowed_kind_come_back(request_id: int | str | None) -> None:
    assert codec.decode(json.dumps({"event": "x", "id": request_id})).request_id == request_id


def test_of_duplicate_keys_the_last_one_counts() -> None:
    inbound = codec.decode('{"event":"a","id":1,"event":"b","id":2,"data":{"limit":1,"limit":2}}')
    assert (inbound.event, inbound.request_id) == ("b", 2)
    assert parse(inbound.data, Page) == Page(limit=2)


def test_a_push_has_no_id() -> None:
    assert strictly(codec.push("pong", Pong("now"))) == {
        "event": "pong",
        "data": {"timestamp": "now"},
    }


@given(
    strict_text,
    st.integers(1, MAX_SAFE_INTEGER),
    st.builds(
        MessageBody,
        strict_text,
        strict_text | st.none(),
        strict_text,
        st.dictionaries(strict_text, strict_json, max_size=4),
    ),
)
def test_a_stored_message_is_spliced_into_the_json_that_it_means(
    recipient_id: str, seq: int, body: MessageBody
) -> None:
    encoded = msgspec.json.encode(body)
    frame = strictly(codec.message(msgspec.json.encode(recipient_id), "epoch", seq, encoded))
    assert frame == {
        "event": "message",
        "data": {"recipientId": recipient_id, "seq": seq, **json.loads(encoded)},
    }
    assert list(frame["data"])[:2] == ["recipientId", "seq"]
    del frame["data"]["seq"]
    assert strictly(codec.broadcast(recipient_id, encoded)) == frame  # which nobody counts


@given(st.dictionaries(st.text(), loose_json, max_size=3))
def test_metadata_that_passes_is_the_same_for_every_client(metadata: dict[str, Any]) -> None:
    data = json.dumps({"recipientIds": ["bob"], "message": "", "metadata": metadata}).encode()
    try:
        request = parse(data, SendMessage)
    except InvalidPayload:
        return
    read_back = strictly(msgspec.json.encode(request.metadata))
    assert read_back == json.loads(json.dumps(metadata))
    assert all(math.isfinite(value) for value in numbers(read_back))


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []
