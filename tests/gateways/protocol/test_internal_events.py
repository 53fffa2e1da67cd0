"""Payloads of the internal gateway: what is taken, what is refused with which words."""

import json
from typing import Any

import msgspec
import pytest

from gateways.protocol.errors import InvalidPayload
from gateways.protocol.events import Request, parse
from gateways.protocol.internal_events import (
    MAX_FRIENDS,
    MAX_STATUSES,
    AuthenticateService,
    Broadcast,
    BroadcastSent,
    Disconnected,
    DisconnectUser,
    FriendIds,
    MutualFriendIds,
    OneUser,
    PingedService,
    RegisterService,
    SendServiceMessage,
    ServiceAuthenticated,
    ServicePong,
    Total,
    UserIds,
)

LONG = "x" * 129
DEEP: dict[str, Any] = {"a": 1}
for _ in range(32):
    DEEP = {"a": DEEP}


def taken(data: Any, struct: type[Request]) -> Any:
    return parse(json.dumps(data).encode(), struct)


def message(*recipient_ids: Any, **data: Any) -> dict[str, Any]:
    return {"recipientIds": list(recipient_ids), "message": "x", **data}


def registration(**data: Any) -> dict[str, Any]:
    return {"serviceName": "a", "serviceKey": "k", "serviceType": "t", **data}


@pytest.mark.parametrize(
    ("struct", "data", "complaint"),
    [
        (AuthenticateService, {"serviceName": "a"}, "`serviceKey`"),
        (AuthenticateService, {"serviceName": LONG, "serviceKey": "k"}, "serviceName: "),
        (AuthenticateService, {"serviceName": "a", "serviceKey": "k" * 257}, "serviceKey: "),
        (AuthenticateService, {"serviceName": "a", "serviceKey": 1}, "serviceKey: "),
        (RegisterService, {"serviceName": "a", "serviceKey": "k"}, "`serviceType`"),
        (RegisterService, registration(metadata=[]), "metadata: "),
        (RegisterService, registration(metadata=DEEP), "metadata: "),
        (RegisterService, registration(enabled=True), "`enabled`"),
        (SendServiceMessage, message(), "recipientIds: "),
        (SendServiceMessage, message("a", " \t"), "recipientIds[1]: "),
        (SendServiceMessage, message(LONG), "recipientIds[0]: "),
        (SendServiceMessage, message("a\0b"), "recipientIds: "),
        (SendServiceMessage, message("a", messageId=""), "messageId: "),
        (SendServiceMessage, message("a", messageId="a\n"), "messageId: "),
        (SendServiceMessage, message("a", metadata={"n": 2**53}), "metadata: "),
        (SendServiceMessage, message("a", serviceName="b"), "`serviceName`"),
        (Broadcast, {"message": None}, "message: "),
        (Broadcast, {"message": "x", "metadata": DEEP}, "metadata: "),
        (Broadcast, {"message": "x", "messageId": "m"}, "`messageId`"),
        (OneUser, {"userId": "\x7f"}, "userId: "),
        (OneUser, {"userId": LONG}, "userId: "),
        (FriendIds, {"userId": "a", "friendIds": ["b", ""]}, "friendIds[1]: "),
        (FriendIds, {"userId": "a", "friendIds": ["b\n"]}, "friendIds: "),
        (FriendIds, {"userId": "a\n", "friendIds": ["b"]}, "userId: "),
        (FriendIds, {"userId": "a", "friendIds": ["b"] * (MAX_FRIENDS + 1)}, "friendIds: "),
        (FriendIds, {"userId": "a", "friendIds": ["b"], "mutual": True}, "`mutual`"),
        (MutualFriendIds, {"userId": "a", "friendIds": ["b"], "mutual": 1}, "mutual: "),
        (MutualFriendIds, {"userId": "a", "friendIds": ["b\r"]}, "friendIds: "),
        (UserIds, {"userIds": []}, "userIds: "),
        (UserIds, {"userIds": ["a"] * (MAX_STATUSES + 1)}, "userIds: "),
        (UserIds, {"userIds": ["\u2028"]}, "userIds: "),
        (DisconnectUser, {"userId": "a\n"}, "userId: "),
        (DisconnectUser, {"userId": "a", "sessionId": ""}, "sessionId: "),
        (DisconnectUser, {"userId": "a", "reason": "é" * 62}, "reason: "),
        (DisconnectUser, {"userId": "a", "reason": 4403}, "reason: "),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_the_name_of_its_field(
    struct: type[Request], data: Any, complaint: str
) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        taken(data, struct)
    assert complaint in str(refusal.value)
    assert "$" not in str(refusal.value)


def test_the_greatest_of_each_is_taken() -> None:
    assert taken({"serviceName": "a" * 128, "serviceKey": "k" * 256}, AuthenticateService)
    assert taken(message("x" * 128, " " + "y" * 128), SendServiceMessage)
    friends = taken({"userId": "a", "friendIds": ["b"] * MAX_FRIENDS}, MutualFriendIds)
    assert len(friends.friend_ids) == MAX_FRIENDS
    assert len(taken({"userIds": ["a"] * MAX_STATUSES}, UserIds).user_ids) == MAX_STATUSES
    assert taken({"userId": "a", "reason": "é" * 61 + "!"}, DisconnectUser).reason


def test_spaces_around_a_recipient_are_no_part_of_it() -> None:
    sent = taken(message(" bob\n", "bob", "\u3000名 前\t"), SendServiceMessage)
    assert sent.recipient_ids == ["bob", "bob", "名 前"]


def test_what_is_not_given_has_the_value_that_it_is_documented_with() -> None:
    assert taken({"userId": "a", "friendIds": []}, MutualFriendIds).mutual is True
    disconnect = taken({"userId": "a"}, DisconnectUser)
    assert (disconnect.session_id, disconnect.reason) == (None, None)
    assert taken(registration(), RegisterService).description == ""


def test_replies_are_written_as_the_protocol_has_them() -> None:
    assert msgspec.to_builtins(BroadcastSent(Total(3))) == {
        "recipients": {"total": 3},
        "status": "sent",
    }
    assert msgspec.to_builtins(Disconnected(2)) == {"closed": 2, "status": "success"}


def test_a_ping_names_no_service_before_there_is_one() -> None:
    assert msgspec.to_builtins(ServicePong("now")) == {"timestamp": "now"}
    pinged = msgspec.to_builtins(ServicePong("now", PingedService("a", "t", "", {"m": 1})))
    assert pinged["service"] == {"name": "a", "type": "t", "description": "", "metadata": {"m": 1}}


@pytest.mark.parametrize(("seconds", "written"), [(300.0, b"300"), (0.25, b"0.25")])
def test_an_idle_timeout_of_whole_seconds_is_written_without_a_fraction(
    seconds: float, written: bytes
) -> None:
    authenticated = ServiceAuthenticated(
        service_name="a",
        service_type="t",
        socket_id="s",
        connected_at="then",
        description="",
        metadata={},
        expires_at="later",
        idle_timeout=seconds,
    )
    assert b'"idleTimeout":%b}' % written in msgspec.json.encode(authenticated)
