"""The handshake: origins, subprotocols, and the places where a token may be."""

from typing import Any

import pytest

from gateways.consumers.handshake import Handshake


def shake(
    *headers: tuple[bytes, bytes], subprotocols: list[str] | None = None, query: bytes = b""
) -> Handshake:
    scope: dict[str, Any] = {"headers": headers, "query_string": query}
    if subprotocols is not None:
        scope["subprotocols"] = subprotocols
    return Handshake.of(scope)


def test_a_bare_one_says_nothing() -> None:
    assert Handshake.of({"headers": []}) == Handshake(None, None, None, None)


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"BEARER   abc "])
def test_a_token_may_come_in_the_authorization_header(value: bytes) -> None:
    assert shake((b"Authorization", value)).token == "abc"


@pytest.mark.parametrize("value", [b"Basic abc", b"Bearer", b"", b"abc", b"\xff\xfe"])
def test_other_authorizations_are_none(value: bytes) -> None:
    assert shake((b"authorization", value)).token is None


def test_a_token_may_come_as_a_subprotocol_and_is_never_the_one_that_is_chosen() -> None:
    handshake = shake(subprotocols=["scarfall.v1", "bearer.a.b.c"])
    assert (handshake.subprotocol, handshake.token) == ("scarfall.v1", "a.b.c")
    assert shake(subprotocols=["bearer.a.b.c"]).subprotocol is None
    assert shake(subprotocols=["chat"]).subprotocol is None


def test_the_header_goes_before_the_subprotocol() -> None:
    handshake = shake((b"authorization", b"Bearer header"), subprotocols=["bearer.other"])
    assert handshake.token == "header"


def test_a_token_in_the_address_is_kept_apart() -> None:
    handshake = shake(query=b"a=1&token=x.y&token=z")
    assert (handshake.token, handshake.query_token) == (None, "x.y")
    assert shake(query=b"\xff%ff&&=").query_token is None


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        (None, (), True),
        (b"https://game.example", ("*",), True),
        (b"https://game.example", ("https://game.example",), True),
        (b"https://evil.example", ("https://game.example",), False),
        (b"https://game.example.evil", ("https://game.example",), False),
        (b"null", ("https://game.example",), False),
        (b"", ("https://game.example",), False),
    ],
)
def test_browsers_are_held_to_the_allowed_origins(
    origin: bytes | None, allowed: tuple[str, ...], expected: bool
) -> None:
    headers = [(b"origin", origin)] if origin is not None else []
    assert shake(*headers).origin_allowed(allowed) == expected
