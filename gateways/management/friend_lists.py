"""Friend lists as they come from elsewhere: JSON lines, and the old service's keys."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gateways.protocol.checks import check_printable
from gateways.protocol.errors import InvalidPayload
from gateways.protocol.events import MAX_ID_LENGTH, Request, UserId, parse


class FriendList(Request, frozen=True):
    user_id: UserId
    friend_ids: list[UserId]

    def __post_init__(self) -> None:
        check_printable("userId", self.user_id)
        check_printable("friendIds", *self.friend_ids)


class _OldFriend(Struct, frozen=True):
    """`email` is left behind: the gateway takes it from each user's own token."""

    mongo_id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)] = msgspec.field(name="_id", default="")
    user_id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)] = msgspec.field(
        name="userId", default=""
    )


def of_line(line: bytes) -> FriendList:
    """Raises InvalidPayload."""
    return parse(line, FriendList)


def of_old_key(user_id: bytes, value: bytes | None) -> FriendList:
    """Raises InvalidPayload."""
    if value is None:
        raise InvalidPayload("expected a JSON list as text, found something else")
    try:
        friends = msgspec.json.decode(value, type=list[_OldFriend])
        plain = {
            "userId": user_id.decode(),
            "friendIds": [friend.user_id or friend.mongo_id for friend in friends],
        }
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPayload(str(error)) from None
    return parse(msgspec.json.encode(plain), FriendList)
