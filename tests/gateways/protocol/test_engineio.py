"""Engine.IO's packets and payloads."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from gateways.protocol import engineio
from gateways.protocol.engineio import InvalidPacket


def test_the_open_packet_says_what_the_client_must_know() -> None:
    packet = engineio.open_packet(
        "id",
        upgrades=["websocket"],
        ping_interval_ms=25_000,
        ping_timeout_ms=20_000,
        max_payload_bytes=1_000_000,
    )
    assert packet[:1] == b"0"
    assert json.loads(packet[1:]) == {
        "sid": "id",
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }


def test_a_payload_holds_text_and_binary_packets() -> None:
    assert engineio.split("4héllo\x1e2\x1ebAQID".encode()) == ["4héllo", "2", b"\x01\x02\x03"]


@given(st.lists(st.text(min_size=1).filter(lambda text: "\x1e" not in text), min_size=1))
def test_what_is_joined_is_split_again(texts: list[str]) -> None:
    packets = [f"4{text}" for text in texts]
    assert engineio.split(engineio.join([packet.encode() for packet in packets])) == packets


@pytest.mark.parametrize(
    "payload", [b"", b"4a\x1e", b"\x1e4a", b"\xff", b"b!", b"bAQI", b"4a\x1eb="]
)
def test_a_malformed_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidPacket):
        engineio.split(payload)


@given(st.binary(max_size=200))
def test_any_payload_is_split_or_refused(payload: bytes) -> None:
    with suppress(InvalidPacket):
        assert all(engineio.split(payload)) or b"b" in payload


def test_a_refusal_is_what_socket_ios_own_server_says() -> None:
    refusal = engineio.UNKNOWN_VERSION
    assert (refusal.status, json.loads(refusal.body)) == (
        400,
        {"code": 5, "message": "Unsupported protocol version"},
    )
