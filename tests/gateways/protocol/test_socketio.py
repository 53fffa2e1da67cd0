"""Socket.IO's packets, as frames and as events."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateways.protocol import socketio
from gateways.protocol.errors import GatewayError, InvalidFrame, InvalidPayload, UnknownEvent
from gateways.protocol.events import Pong, parse
from gateways.protocol.socketio import Auth, SocketIOCodec

codec = SocketIOCodec()
BODY = b'{"id":"m","senderId":"bob","message":"h\xc3\xa9llo","metadata":{}}'


def arguments(frame: bytes, kind: bytes) -> list[Any]:
    assert frame.startswith(kind)
    decoded: list[Any] = json.loads(frame[len(kind) :])
    return decoded


# --- what comes in --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "event", "request_id", "data"),
    [
        ('42["ping"]', "ping", None, b"{}"),
        ('42["ping",null]', "ping", None, b"{}"),
        ('420["ping"]', "ping", 0, b"{}"),
        ('4217["send_message",{"message":"[]"}]', "send_message", 17, b'{"message":"[]"}'),
        ('42/,3["ping",{}]', "ping", 3, b"{}"),
        ('42["x", 7 ]', "x", None, b"7"),
        ('429007199254740991["ping"]', "ping", 2**53 - 1, b"{}"),
    ],
)
def test_an_event_is_a_request(frame: str, event: str, request_id: int | None, data: bytes) -> None:
    inbound = codec.decode(frame)
    assert (inbound.event, inbound.request_id, bytes(inbound.data)) == (event, request_id, data)
    assert inbound.refusal is None


@pytest.mark.parametrize(
    "frame",
    [
        "42",
        "42{}",
        "42[]",
        "42[7]",
        '42[""]',
        '42["ping"',
        '42["ping"]x',
        '42abc["ping"]',
        '42-1["ping"]',
        '421.5["ping"]',
        '42/other,["ping"]',
        '42/other["ping"]',
        '429007199254740992["ping"]',
        "42" + "9" * 5000 + '["ping"]',
        '42٣["ping"]',
        "42" + "[" * 5000,
    ],
)
def test_a_malformed_packet_is_refused(frame: str) -> None:
    with pytest.raises(InvalidFrame):
        codec.decode(frame)


def test_more_than_one_argument_is_answered_with_a_refusal() -> None:
    inbound = codec.decode('425["ping",{},{}]')
    assert (inbound.event, inbound.request_id) == ("ping", 5)
    assert isinstance(inbound.refusal, InvalidPayload)


@pytest.mark.parametrize(
    ("frame", "refusal"),
    [
        (r'425["send_message",{"message":"half an emoji: \ud83d"}]', InvalidPayload),
        (r'425["\ud83d"]', InvalidPayload),
        ('425["' + "x" * 65 + '"]', UnknownEvent),
    ],
)
def test_what_only_javascript_can_say_is_answered_with_a_refusal(
    frame: str, refusal: type[GatewayError]
) -> None:
    inbound = codec.decode(frame)
    assert inbound.request_id == 5
    assert isinstance(inbound.refusal, refusal)


def test_an_event_with_attachments_is_answered_with_a_refusal() -> None:
    inbound = codec.decode('451-5["send_message",{"_placeholder":true,"num":0}]')
    assert (inbound.event, inbound.request_id) == ("send_message", 5)
    assert isinstance(inbound.refusal, InvalidPayload)


@given(st.text(max_size=100))
def test_any_text_is_an_event_or_refused(text: str) -> None:
    for kind in ("42", "45"):
        try:
            codec.decode(kind + text)
        except InvalidFrame:
            continue


@pytest.mark.parametrize(
    ("frame", "count"), [("450-[]", 0), ('451-["x"]', 1), ('4510-/ns,7["x"]', 10)]
)
def test_a_binary_packet_says_how_many_attachments_follow(frame: str, count: int) -> None:
    assert socketio.attachments(frame) == count


@pytest.mark.parametrize(
    "frame", ["45", "45[]", "45-[]", "45x-[]", "4511-[]", "45" + "9" * 5000 + "-[]", "45٣-[]"]
)
def test_one_that_does_not_or_of_too_many_is_refused(frame: str) -> None:
    with pytest.raises(InvalidFrame):
        socketio.attachments(frame)


@pytest.mark.parametrize("frame", ["43[]", "430[]", '4317["x"]', '461-3[{"_placeholder":true}]'])
def test_an_acknowledgement_does_no_harm(frame: str) -> None:
    socketio.check_ack(frame)


@pytest.mark.parametrize("frame", ["43", "43x[]", "431[", '431["a"', "431[]x", "43{}"])
def test_a_malformed_acknowledgement_is_refused(frame: str) -> None:
    with pytest.raises(InvalidFrame):
        socketio.check_ack(frame)


# --- connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "namespace", "auth"),
    [
        ("40", "/", b"{}"),
        ('40{"token":"t"}', "/", b'{"token":"t"}'),
        ("40/,", "/", b"{}"),
        ("40/admin,", "/admin", b"{}"),
        ("40/admin", "/admin", b"{}"),
        ('40/admin?a=1,{"token":"t"}', "/admin", b'{"token":"t"}'),
    ],
)
def test_a_connect_packet_names_a_namespace_and_has_an_auth(
    frame: str, namespace: str, auth: bytes
) -> None:
    connect = socketio.connect(frame)
    assert (connect.namespace, connect.auth) == (namespace, auth)


@pytest.mark.parametrize("frame", ["40[]", "407", "40null", "40{", '40"x"', "40" + "[" * 5000])
def test_an_auth_that_is_no_object_is_refused(frame: str) -> None:
    with pytest.raises(InvalidFrame):
        socketio.connect(frame)


def test_an_auth_may_hold_what_is_not_for_us() -> None:
    auth = parse(b'{"token":"t","deviceId":"d","mine":[1],"recovery":true}', Auth)
    assert (auth.token, auth.device_id, auth.recovery) == ("t", "d", True)


def test_a_field_of_the_wrong_type_is_named() -> None:
    with pytest.raises(InvalidPayload, match="token"):
        parse(b'{"token":7}', Auth)


def test_a_refused_namespace_is_named_in_its_error() -> None:
    assert socketio.connect_error("/x", "No.") == b'44/x,{"message":"No."}'
    assert socketio.connect_error("/", "No.") == b'44{"message":"No."}'


def test_the_greeting_names_the_socket() -> None:
    assert codec.greeting("s", None) == b'40{"sid":"s"}'
    assert codec.greeting("s", "p") == b'40{"sid":"s","pid":"p"}'


# --- what goes out --------------------------------------------------------------------------------


def test_a_reply_acknowledges() -> None:
    assert arguments(codec.reply("ping", 3, Pong("now")), b"433") == [{"timestamp": "now"}]


def test_a_push_is_an_event() -> None:
    assert arguments(codec.push("pong", Pong("now")), b"42") == ["pong", {"timestamp": "now"}]


@pytest.mark.parametrize("recipient_id", ["alice", '"', "مرحبا"])
def test_a_message_is_spliced(recipient_id: str) -> None:
    message = {"recipientId": recipient_id, "seq": 7, **json.loads(BODY)}
    assert arguments(codec.message(json.dumps(recipient_id).encode(), "e", 7, BODY), b"42") == [
        "message",
        message,
    ]
    recovering = SocketIOCodec(recovery=True).message(
        json.dumps(recipient_id).encode(), "e", 7, BODY
    )
    assert arguments(recovering, b"42") == ["message", message, "e:7"]


def test_a_broadcast_has_neither_seq_nor_offset() -> None:
    for each in (codec, SocketIOCodec(recovery=True)):
        broadcast = {"recipientId": "alice", **json.loads(BODY)}
        assert arguments(each.broadcast("alice", BODY), b"42") == ["message", broadcast]


def test_an_offset_leads_back_to_its_place() -> None:
    frame = SocketIOCodec(recovery=True).message(b'"alice"', "1a2-b", 7, BODY)
    assert socketio.offset(arguments(frame, b"42")[2]) == ("1a2-b", 7)


@pytest.mark.parametrize(
    "given_", ["", ":", "e:", ":7", "e:x", "e:-1", "e:9007199254740992", "e:٣"]
)
def test_what_is_no_offset_of_ours_leads_nowhere(given_: str) -> None:
    assert socketio.offset(given_) is None
