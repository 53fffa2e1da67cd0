"""What browsers are told with every HTTP response of both ports, and whose pages may read it."""

import asyncio
import socket
import ssl
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection

import pytest
import websockets
from websockets.typing import Origin

from tests.certificate import Certificate
from tests.e2e.conftest import Deploy
from tests.e2e.gateways import GatewayProcess

ORIGIN = "https://play.example.org"
ELSEWHERE = "https://elsewhere.example"
ALL = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
POLLING = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def both(deploy: Deploy) -> GatewayProcess:
    return deploy(CORS_ORIGIN=ORIGIN, ENABLE_EXAMPLES="true", TRUSTED_PROXIES="127.0.0.2").start(
        "all"
    )


@pytest.fixture(scope="module")
def secure(deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    certificate = Certificate(tmp_path_factory.mktemp("tls"))
    return deploy(TLS_CERT=str(certificate.cert), TLS_KEY=str(certificate.key)).start("all")


def ask(
    port: int,
    path: str,
    method: str = "GET",
    body: str | None = None,
    *,
    tls: bool = False,
    by: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
) -> HTTPResponse:
    if tls:
        context = ssl._create_unverified_context()  # the test's own certificate
        http: HTTPConnection = HTTPSConnection("localhost", port, timeout=15, context=context)
    else:
        http = HTTPConnection("127.0.0.1", port, timeout=15, source_address=(by, 0))
    try:
        http.request(method, path, body, headers or {})
        answer = http.getresponse()
        answer.read()
        return answer
    finally:
        http.close()


def raw(port: int, sent: bytes) -> dict[str, str]:
    """The headers of the answer to what no HTTP client would send; "" is the status line."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(sent)
        received = b""
        while data := connection.recv(65536):
            received += data
    status, *lines = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return {"": status} | {
        name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
    }


def holds(headers: dict[str, str]) -> None:
    assert {name: headers.get(name) for name in ALL} == ALL
    assert "camera=()" in headers["permissions-policy"]
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy


def said(answer: HTTPResponse) -> dict[str, str]:
    """Each once: of two policies a browser takes what both allow."""
    pairs = [(name.lower(), value) for name, value in answer.getheaders()]
    once = [name for name, _ in pairs if name != "vary"]
    assert len(once) == len(set(once))
    return dict(pairs)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("POST", "/healthz", 405),
        ("GET", "/", 302),
        ("GET", "/nothing", 404),
        ("GET", "/static/nothing", 404),
        ("GET", "/static/base.css", 200),
        ("GET", "/ws", 404),
        ("GET", POLLING, 200),
        ("OPTIONS", POLLING, 204),
        ("POST", POLLING, 400),
        ("GET", POLLING + "&sid=unknown", 400),
        ("GET", "/socket.io/", 400),
    ],
)
def test_every_response_of_both_ports(
    both: GatewayProcess, method: str, path: str, status: int
) -> None:
    for port in (both.port, both.internal_port):
        answer = ask(port, path, method)
        assert answer.status == status
        holds(said(answer))
        assert answer.headers["strict-transport-security"] is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/examples/internal/", 200),
        ("/admin", 302),
        ("/admin/", 200),
        ("/admin/login/", 200),
        ("/admin/nothing/", 302),
        ("/admin/theme.css", 200),
        ("/static/admin/js/core.js", 200),
    ],
)
def test_every_page_of_the_internal_port(both: GatewayProcess, path: str, status: int) -> None:
    answer = ask(both.internal_port, path) if path != "/admin/" else _followed(both, path)
    assert answer.status == status
    holds(said(answer))


def test_a_form_without_its_token(both: GatewayProcess) -> None:
    answer = ask(both.internal_port, "/admin/login/", "POST", "username=a&password=b")
    assert answer.status == 403
    holds(said(answer))


def test_a_players_page(both: GatewayProcess) -> None:
    answer = ask(both.port, "/examples/user/")
    assert answer.status == 200
    headers = said(answer)
    holds(headers)
    assert f"connect-src 'self' ws://127.0.0.1:{both.port}" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nothing", {}, 404),
        ("/ws", {"origin": ELSEWHERE}, 403),
        ("/ws", {"sec-websocket-version": "12"}, 400),
        ("/socket.io/?EIO=4&transport=websocket", {"origin": ELSEWHERE}, 403),
        ("/socket.io/?EIO=3&transport=websocket", {}, 400),
        ("/" + "a" * 9000, {}, 414),
        ("/ws", {"x-a": "a" * 9000}, 431),
    ],
)
def test_a_refused_handshake(
    both: GatewayProcess, path: str, headers: dict[str, str], status: int
) -> None:
    for port in (both.port, both.internal_port):
        answer = ask(port, path, headers={**UPGRADE, **headers})
        assert answer.status == status
        holds(said(answer))


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: \x00\r\n\r\n",
    ],
)
def test_what_can_not_be_read(both: GatewayProcess, sent: bytes) -> None:
    for port in (both.port, both.internal_port):
        headers = raw(port, sent)
        assert headers[""].startswith("HTTP/1.1 400 ")
        holds(headers)


def test_a_handshake_that_succeeds_pays_for_none_of_it(both: GatewayProcess) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    with socket.create_connection(("127.0.0.1", both.port), timeout=15) as connection:
        connection.sendall(f"GET /ws HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"policy" not in answer.lower()


# --- over https -----------------------------------------------------------------------------------

YEAR = "max-age=31536000"


@pytest.mark.parametrize("path", ["/healthz", "/nothing", POLLING])
def test_over_tls_browsers_are_told_to_stay(secure: GatewayProcess, path: str) -> None:
    answer = ask(secure.port, path, tls=True)
    holds(said(answer))
    assert answer.headers["strict-transport-security"] == YEAR
    refused = ask(secure.port, "/nothing", tls=True, headers=UPGRADE)
    assert refused.headers["strict-transport-security"] == YEAR
    # The internal port of the same deployment has no TLS.
    assert ask(secure.internal_port, path).headers["strict-transport-security"] is None


@pytest.mark.parametrize("headers", [{}, UPGRADE])
def test_a_proxy_is_believed_where_it_is_trusted(
    both: GatewayProcess, headers: dict[str, str]
) -> None:
    forwarded = {"x-forwarded-proto": "https", **headers}
    for port in (both.port, both.internal_port):
        told = ask(port, "/nothing", by="127.0.0.2", headers=forwarded)
        assert told.headers["strict-transport-security"] == YEAR
        pretended = ask(port, "/nothing", headers=forwarded)
        assert pretended.headers["strict-transport-security"] is None


# --- CORS_ORIGIN ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/examples/user/", POLLING])
def test_an_allowed_page_may_read_what_players_get(both: GatewayProcess, path: str) -> None:
    allowed = ask(both.port, path, headers={"origin": ORIGIN})
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "Origin" in allowed.headers.get_all("vary", [])
    before = ask(
        both.port,
        path,
        "OPTIONS",
        headers={
            "origin": ORIGIN,
            "access-control-request-method": "GET",
            "access-control-request-headers": "x-mine",
        },
    )
    assert before.status == 204
    assert before.headers["access-control-allow-origin"] == ORIGIN
    assert before.headers["access-control-allow-headers"] == "x-mine"
    holds(said(before))


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", ORIGIN + ".example", ORIGIN + ":8443", ""])
@pytest.mark.parametrize("path", ["/healthz", "/nothing", POLLING])
def test_another_page_may_not(both: GatewayProcess, path: str, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        asked = {"origin": origin, "access-control-request-method": "GET"}
        answer = ask(both.port, path, method, headers=asked)
        assert answer.headers["access-control-allow-origin"] is None
        assert answer.headers["access-control-allow-credentials"] is None
        holds(said(answer))


def test_no_cache_gives_one_page_what_another_got(both: GatewayProcess) -> None:
    assert "Origin" in ask(both.port, "/healthz").headers.get_all("vary", [])


@pytest.mark.parametrize("path", ["/admin/login/", "/healthz", "/static/admin/js/core.js"])
def test_no_page_of_elsewhere_reads_the_admin(both: GatewayProcess, path: str) -> None:
    """An operator's browser would send its cookie along."""
    for origin in (ORIGIN, ELSEWHERE):
        answer = ask(both.internal_port, path, headers={"origin": origin})
        assert answer.headers["access-control-allow-origin"] is None


async def test_a_handshake_of_elsewhere_is_refused(both: GatewayProcess) -> None:
    for path in ("/ws", "/socket.io/?EIO=4&transport=websocket"):
        url = f"ws://127.0.0.1:{both.port}{path}"
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await websockets.connect(url, origin=Origin(ELSEWHERE))
        assert refusal.value.response.status_code == 403
        async with websockets.connect(url, origin=Origin(ORIGIN)):
            pass
    answer = await asyncio.to_thread(ask, both.port, POLLING, headers={"origin": ELSEWHERE})
    assert answer.status == 403


def test_players_do_not_see_the_admin(both: GatewayProcess) -> None:
    for path in (
        "/admin",
        "/admin/",
        "/admin/login/",
        "/admin/theme.css",
        "/static/admin/js/core.js",
    ):
        assert ask(both.port, path).status == 404


def _followed(gateway: GatewayProcess, path: str) -> HTTPResponse:
    answer = ask(gateway.internal_port, path)
    assert answer.status == 302
    holds(said(answer))
    return ask(gateway.internal_port, answer.headers["location"])
