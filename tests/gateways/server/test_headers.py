"""What a response lacks."""

from gateways.server import headers
from gateways.server.headers import missing


def test_what_the_app_says_goes_before() -> None:
    added = dict(missing([(b"Content-Security-Policy", b"default-src 'self'")], secure=False))
    assert headers.POLICY not in added
    assert added[b"x-frame-options"] == b"DENY"


def test_a_page_has_the_policy_of_pages() -> None:
    page = [(b"content-type", b"text/html; charset=utf-8")]
    assert dict(missing(page, secure=False))[headers.POLICY] == headers.PAGE
    assert dict(missing([], secure=False))[headers.POLICY] == headers.NO_PAGE


def test_only_https_is_told_to_stay() -> None:
    assert headers.TRANSPORT in missing([], secure=True)
    assert headers.TRANSPORT not in missing([], secure=False)
    assert [headers.is_secure({"scheme": scheme}) for scheme in ("https", "wss", "http", "ws")] == [
        True, True, False, False,
    ]  # fmt: skip
