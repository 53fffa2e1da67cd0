"""Whose word is taken for where a client is, and how it came: a trusted proxy's, and nobody else's.

It shows by who shares an address, where an address may have one connection; and by which origin an
operator's form may come from.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest

from tests.e2e.client import Client, connect
from tests.e2e.conftest import Deploy
from tests.e2e.gateways import GatewayProcess
from tests.socketio.raw import request, target

#: A trusted proxy, one of a trusted network, and somebody else.
PROXY, SECOND, STRANGER = "127.0.0.1", "127.0.5.7", "127.0.0.9"
TRUSTED = f"{PROXY}, 127.0.5.0/24, ::1"
A, B, SPOOFED = "198.51.100.1", "198.51.100.2", "203.0.113.9"

#: The peer, and the X-Forwarded-For headers that it sends.
Came = tuple[str, list[str]]
SAME: list[tuple[Came, Came]] = [
    ((PROXY, [A]), (PROXY, [A])),
    ((PROXY, [A]), (SECOND, [A])),
    ((PROXY, [A]), (PROXY, [f"{A}, {SECOND}"])),
    ((PROXY, [A]), (PROXY, [f"{A}:4711"])),
    ((PROXY, [A]), (PROXY, [f"::ffff:{A}"])),
    # A client may send such a header itself, to which a proxy adds.
    ((PROXY, [A]), (PROXY, [f"{SPOOFED}, {A}"])),
    ((PROXY, [A]), (PROXY, [SPOOFED, A])),
    ((PROXY, [A]), (PROXY, [f"{PROXY}, {A}, {SECOND}"])),
    ((STRANGER, []), (STRANGER, [A])),
    ((STRANGER, [A]), (STRANGER, [B])),
    ((STRANGER, []), (PROXY, [STRANGER])),
    ((PROXY, ["2001:db8::1"]), (PROXY, ["2001:db8::ffff:1"])),
    ((PROXY, ["2001:db8::1"]), (PROXY, ["[2001:db8::2]:4711"])),
    ((PROXY, []), (PROXY, [""])),
]
DIFFERENT: list[tuple[Came, Came]] = [
    ((PROXY, [A]), (PROXY, [B])),
    ((PROXY, []), (PROXY, [A])),
    ((PROXY, [A]), (PROXY, [f"{A}, {B}"])),
    # Nobody shuts others out by taking their addresses.
    ((STRANGER, [A]), (PROXY, [A])),
    ((PROXY, ["2001:db8::1"]), (PROXY, ["2001:db8:0:1::1"])),
    ((PROXY, ["2001:db8::1"]), (PROXY, [A])),
]


@pytest.fixture(scope="module", params=["127.0.0.1", "::"])
def behind(deploy: Deploy, request: pytest.FixtureRequest) -> GatewayProcess:
    """Of one family of addresses, and of both: then the proxy is ::ffff:127.0.0.1."""
    deployment = deploy(HOST=request.param, TRUSTED_PROXIES=TRUSTED, MAX_ADDRESS_CONNECTIONS="1")
    return deployment.start("all")


@asynccontextmanager
async def came(gateway: GatewayProcess, by: Came) -> AsyncIterator[Client]:
    peer, forwarded = by
    headers = [("X-Forwarded-For", value) for value in forwarded]
    async with connect(
        gateway.url, local_addr=(peer, 0), additional_headers=headers, proxy=None
    ) as client:
        yield client


@pytest.mark.parametrize(("first", "second"), SAME)
async def test_the_same_address(behind: GatewayProcess, first: Came, second: Came) -> None:
    async with came(behind, first) as one:
        assert set(await one.request("ping")) == {"timestamp"}
        async with came(behind, second) as other:
            (error,) = await other.pushed("error")
            assert error["error"] == "This address has too many connections."
            assert await other.closed() == 4503


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
async def test_another_address(behind: GatewayProcess, first: Came, second: Came) -> None:
    async with came(behind, first) as one, came(behind, second) as other:
        assert set(await one.request("ping")) == {"timestamp"}
        assert set(await other.request("ping")) == {"timestamp"}


async def test_a_proxy_of_the_other_family(deploy: Deploy) -> None:
    gateway = deploy(HOST="::", TRUSTED_PROXIES="::1", MAX_ADDRESS_CONNECTIONS="1").start()
    url = f"ws://[::1]:{gateway.port}/ws"
    async with (
        connect(url, additional_headers={"X-Forwarded-For": A}, proxy=None) as one,
        connect(url, additional_headers={"X-Forwarded-For": B}, proxy=None) as other,
        came(gateway, (PROXY, [A])) as third,
    ):
        for client in (one, other, third):
            assert set(await client.request("ping")) == {"timestamp"}


async def test_by_default_no_proxy_is_believed(deploy: Deploy) -> None:
    gateway = deploy(MAX_ADDRESS_CONNECTIONS="1").start()
    async with came(gateway, (PROXY, [A])) as one, came(gateway, (PROXY, [B])) as other:
        assert set(await one.request("ping")) == {"timestamp"}
        assert await other.closed() == 4503


@pytest.mark.parametrize(
    ("peer", "statuses"), [(PROXY, [200, 503, 200]), (STRANGER, [200, 503, 503])]
)
async def test_of_polling_clients_too(
    behind: GatewayProcess, peer: str, statuses: list[int]
) -> None:
    opened = [
        await request(
            behind.port, "GET", target("polling"), headers={"X-Forwarded-For": who}, address=peer
        )
        for who in (A, A, B)
    ]
    assert [answer.status for answer in opened] == statuses
    for answer in opened:
        if answer.status == 200:
            sid = json.loads(answer.body[1:])["sid"]
            await request(behind.port, "POST", target("polling", sid), "1")


@pytest.mark.parametrize(
    ("peer", "proto", "status"),
    [
        (PROXY, "https", 200),
        (PROXY, "http", 403),
        (PROXY, "gopher", 403),
        (PROXY, None, 403),
        (STRANGER, "https", 403),
    ],
)
def test_how_an_operator_came(
    behind: GatewayProcess, peer: str, proto: str | None, status: int
) -> None:
    """A form of an https page is taken where the admin was asked for over https."""
    host = f"127.0.0.1:{behind.internal_port}"
    headers = {"X-Forwarded-Proto": proto} if proto else {}
    connection = HTTPConnection("127.0.0.1", behind.internal_port, source_address=(peer, 0))
    connection.request("GET", "/admin/login/", headers=headers)
    with connection.getresponse() as page:
        cookie = (page.getheader("set-cookie") or "").partition(";")[0]
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token is not None
    form = {"csrfmiddlewaretoken": token[1], "username": "nobody", "password": "none"}
    headers |= {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": cookie,
        "Origin": f"https://{host}",
        "Referer": f"https://{host}/admin/login/",
    }
    connection.request("POST", "/admin/login/", urlencode(form), headers)
    assert connection.getresponse().status == status
    connection.close()
