"""Payloads: what is taken, what is refused with which words, how times are written."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from gateways.protocol.errors import InternalError, InvalidPayload, RateLimited, UnknownEvent
from gateways.protocol.events import (
    Authenticate,
    CloseSession,
    Connected,
    ConnectedUser,
    DetailedUser,
    Failure,
    Page,
    Request,
    SendMessage,
    now_ms,
    parse,
    timestamp,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_2200_MS = 7_258_118_400_000


def message(**data: Any) -> bytes:
    return json.dumps({"recipientIds": ["bob"], "message": "hello", **data}).encode()


@pytest.mark.parametrize(
    ("struct", "data", "complaint"),
    [
        (SendMessage, {"message": "x"}, "missing required field `recipientIds`"),
        (SendMessage, {"recipientIds": [], "message": "x"}, "recipientIds: "),
        (SendMessage, {"recipientIds": "bob", "message": "x"}, "recipientIds: "),
        (SendMessage, {"recipientIds": ["a", ""], "message": "x"}, "recipientIds[1]: "),
        (SendMessage, {"recipientIds": ["a" * 129], "message": "x"}, "recipientIds[0]: "),
        (SendMessage, {"recipientIds": ["a\n"], "message": "x"}, "recipientIds: "),
        (SendMessage, {"recipientIds": ["a", 1], "message": "x"}, "recipientIds[1]: "),
        (SendMessage, {"recipientIds": ["a"], "message": 1}, "message: "),
        (SendMessage, {"recipientIds": ["a"], "message": "", "metadata": []}, "metadata: "),
        (SendMessage, {"recipientIds": ["a"], "message": "", "messageId": ""}, "messageId: "),
        (SendMessage, {"recipientIds": ["a"], "message": "", "messageId": "\t"}, "messageId: "),
        (SendMessage, {"recipientIds": ["a"], "message": "", "messageId": "m" * 65}, "messageId: "),
        (SendMessage, {"recipientIds": ["a"], "message": "", "extra": 1}, "`extra`"),
        (Authenticate, {}, "`token`"),
        (Authenticate, {"token": "x", "deviceId": ""}, "deviceId: "),
        (Authenticate, {"token": "x", "deviceId": "\x7f"}, "deviceId: "),
        (Authenticate, {"token": "x", "resume": {"epoch": "e"}}, "resume: "),
        (Authenticate, {"token": "x", "resume": {"epoch": "e", "seq": -1}}, "resume.seq: "),
        (Authenticate, {"token": "x", "resume": {"epoch": "e", "seq": 2**53}}, "resume.seq: "),
        (Authenticate, {"token": "x", "resume": {"epoch": "e" * 65, "seq": 1}}, "resume.epoch: "),
        (Page, {"limit": 0}, "limit: "),
        (Page, {"limit": 1001}, "limit: "),
        (Page, {"cursor": "c" * 1025}, "cursor: "),
        (CloseSession, {"sessionId": "s" * 129}, "sessionId: "),
        (CloseSession, [], "object"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_the_name_of_its_field(
    struct: type[Request], data: Any, complaint: str
) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        parse(json.dumps(data).encode(), struct)
    assert complaint in str(refusal.value)
    assert "$" not in str(refusal.value)


@pytest.mark.parametrize(
    "user_id", ["{a}", "}b:*", "a b", "😀", "مرحبا", "x" * 128, "名前", "'\"\\/"]
)
def test_ids_of_any_script_and_punctuation_are_taken(user_id: str) -> None:
    data = message(recipientIds=[user_id], messageId=user_id[:64])
    assert parse(data, SendMessage).recipient_ids == [user_id]


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a":9007199254740992}',
        '{"a":[-9007199254740992]}',
        '{"a":%s}' % ("9" * 4000),
        '{"a":1e400}',
    ],
)
def test_numbers_that_no_client_reads_back_are_refused(metadata: str) -> None:
    with pytest.raises(InvalidPayload, match="metadata"):
        parse(b'{"recipientIds":["a"],"message":"","metadata":%b}' % metadata.encode(), SendMessage)


def nested(depth: int) -> bytes:
    """Metadata of `depth` levels, its own object the first."""
    return b'{"recipientIds":["a"],"message":"","metadata":%b%b%b}' % (
        b'{"a":' * depth,
        b"1",
        b"}" * depth,
    )


def test_metadata_may_have_31_levels_and_no_more() -> None:
    assert parse(nested(31), SendMessage).metadata
    with pytest.raises(InvalidPayload, match="32 levels"):
        parse(nested(32), SendMessage)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_however_deep_the_nesting_it_is_a_refusal(depth: int) -> None:
    with pytest.raises(InvalidPayload):
        parse(nested(depth), SendMessage)


@pytest.mark.parametrize("data", [b"", b"{", b'{"token":"\xff"}', b'{"token":"\\ud800"}', b"\xff"])
def test_data_that_is_no_json_in_utf_8_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidPayload, match="valid JSON"):
        parse(data, Authenticate)


@given(st.integers(0, YEAR_2200_MS))
def test_a_timestamp_is_exact_to_the_millisecond(ms: int) -> None:
    text = timestamp(ms)
    assert len(text) == len("2026-01-02T03:04:05.678Z")
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert (moment - EPOCH) // timedelta(milliseconds=1) == ms


def test_now_is_between_before_and_after() -> None:
    before = now_ms()
    text = timestamp()
    assert timestamp(before) <= text <= timestamp(now_ms())


def test_a_failure_has_the_fields_of_its_error_and_no_others() -> None:
    plain = msgspec.to_builtins(Failure.of(UnknownEvent("No such event.")))
    assert plain.keys() == {"status", "code", "error", "timestamp"}
    assert (plain["status"], plain["code"]) == ("error", "unknown_event")
    limited = msgspec.to_builtins(Failure.of(RateLimited("Slow down.", retry_after_ms=0)))
    assert limited["retryAfterMs"] == 0
    internal = msgspec.to_builtins(Failure.of(InternalError("abc")))
    assert internal["ref"] == "abc"
    assert "retryAfterMs" not in internal


def test_fields_that_do_not_apply_are_not_on_the_wire() -> None:
    user = msgspec.to_builtins(DetailedUser("alice", "online", None))
    assert user == {"userId": "alice", "status": "online", "lastSeen": None}
    connected = Connected(
        user=ConnectedUser("alice", None, "s"),
        session_id="s",
        epoch="e",
        seq=0,
        recovered=False,
        missed=0,
        timestamp="now",
    )
    assert "reason" not in msgspec.to_builtins(connected)
