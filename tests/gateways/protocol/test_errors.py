"""The two catalogues hold together: a code of its own for every failure, and what it says."""

import pytest

from gateways.protocol import errors
from gateways.protocol.errors import (
    AuthenticationFailed,
    CloseCode,
    GatewayError,
    InternalError,
    RateLimited,
    Unavailable,
)

CODES = {
    "invalid_frame",
    "invalid_payload",
    "unknown_event",
    "unauthenticated",
    "forbidden",
    "too_large",
    "too_many_recipients",
    "rate_limited",
    "conflict",
    "unavailable",
    "internal_error",
}


def test_every_documented_code_has_exactly_one_failure() -> None:
    codes = [kind.code for kind in GatewayError.__subclasses__()]
    assert sorted(codes) == sorted(CODES)


def test_the_tree_in_the_docstring_names_every_failure() -> None:
    for kind in GatewayError.__subclasses__():
        assert f" {kind.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("code", [1000, 1011, 1012, 4400, 4401, 4403, 4408, 4413, 4429, 4503, 4508])
def test_close_codes_are_those_of_the_protocol(code: int) -> None:
    assert CloseCode(code) == code


def test_a_rate_limit_says_when_to_try_again() -> None:
    assert RateLimited("Slow down.", retry_after_ms=800).retry_after_ms == 800


def test_unavailable_always_says_when_to_try_again() -> None:
    assert Unavailable("Later.").retry_after_ms == 1000


def test_an_internal_error_tells_its_reference_and_nothing_else() -> None:
    error = InternalError("abc123")
    assert error.ref == "abc123"
    assert "abc123" not in str(error)


def test_a_failed_authentication_closes_with_4401_unless_told_otherwise() -> None:
    assert AuthenticationFailed("No.").close_code == 4401
    assert AuthenticationFailed("No.").code == "unauthenticated"
    assert AuthenticationFailed("No.", close_code=CloseCode.REVOKED).close_code == 4403
