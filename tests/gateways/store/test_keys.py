"""Key names: apart for different ids, and in one slot for one user."""

import pytest
from hypothesis import given, strategies as st
from redis.crc import key_slot

from gateways.store.keys import DIRECTORY_SHARDS, Keys, escape, unescape

keys = Keys("scarfall:")

ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)

AWKWARD = ["{", "}", "{}", "}{", "a:b", "*", " ", "%7B", "%", "😀", "مرحبا", "x" * 128, "\x00"]


@given(ids)
def test_escaping_keeps_every_id_and_leaves_nothing_that_a_key_may_not_hold(user_id: str) -> None:
    escaped = escape(user_id)
    assert unescape(escaped) == user_id
    assert escaped.isascii()
    assert escaped.isprintable()
    assert not set(escaped) & set("{}:*? []/\\")


def user_keys(user_id: str) -> list[str]:
    return [
        keys.sessions(user_id),
        keys.state(user_id),
        keys.inbox(user_id),
        keys.friends(user_id),
        keys.friend_of(user_id),
        keys.sent(user_id, "some:}id"),
        keys.got(user_id, keys.repeat_key("sender", "id")),
    ]


@given(ids)
def test_all_keys_of_a_user_hash_to_one_slot(user_id: str) -> None:
    assert len({key_slot(key.encode()) for key in user_keys(user_id)}) == 1


@given(ids, ids)
def test_no_two_users_share_a_key(one: str, other: str) -> None:
    assert (one == other) == bool(set(user_keys(one)) & set(user_keys(other)))


@given(ids, ids, ids, ids)
def test_repeat_keys_of_different_messages_differ(
    sender: str, message: str, other_sender: str, other_message: str
) -> None:
    same = (sender, message) == (other_sender, other_message)
    assert same == (
        keys.repeat_key(sender, message) == keys.repeat_key(other_sender, other_message)
    )


@pytest.mark.parametrize("user_id", AWKWARD)
def test_every_id_has_a_shard(user_id: str) -> None:
    assert 0 <= keys.shard(user_id) < DIRECTORY_SHARDS


def test_the_nodes_keys_that_one_script_touches_share_a_slot() -> None:
    slots = {key_slot(key.encode()) for key in (keys.leases, keys.claims, keys.life)}
    assert len(slots) == 1


def test_every_key_begins_with_the_prefix() -> None:
    others = [keys.leases, keys.online(0), keys.node_users("n"), keys.duty("sweep")]
    assert all(key.startswith("scarfall:") for key in (*user_keys("alice"), *others))
