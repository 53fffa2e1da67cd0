"""What a deployment is better not started with: `manage.py check --deploy` names it, and so does
`manage.py serve` at its start. Nothing here is an error: an operator may know better.

Each has an id, by which SILENCED_CHECKS silences it. docs/operations.md has the list.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Warning as Weakness, register
from redis import RedisError

from gateways.store.connection import connect
from gateways.store.place import Place

TAG: Final = "scarfall"
#: Whoever tries keys begins with these.
WELL_KNOWN: Final = re.compile(
    r"demo|example|test|change|secret|password|default|key$", re.IGNORECASE
)
#: Bytes. RFC 7518, section 3.2, for the shortest of the algorithms; as good for the others.
LONG_ENOUGH: Final = 32
#: The store is asked once; a start does not wait for one that is away.
ASK_SECONDS: Final = 2.0


def weakness(number: int, sentence: str, hint: str) -> Weakness:
    return Weakness(sentence, hint=hint, id=f"{TAG}.W{number:03}")


@register(TAG, deploy=True)
def check_secrets(**_: Any) -> Iterator[CheckMessage]:
    for number, name, secret in (
        (1, "JWT_SECRET", settings.JWT_SECRET),
        (2, "SECRET_KEY", settings.SECRET_KEY),
    ):
        if secret is not None and _is_weak(secret):
            yield weakness(
                number, f"{name} can be guessed.", f"{name}=$(openssl rand -hex {LONG_ENOUGH})"
            )
    for service in settings.CUSTOM_SERVICES:
        if len(service.key) < LONG_ENOUGH // 2 or WELL_KNOWN.search(service.key):
            yield weakness(
                3,
                f"The key of the service {service.name} in CUSTOM_SERVICES can be guessed.",
                "A service with a key may write to every player: give it a long random one.",
            )


@register(TAG, deploy=True)
def check_doors(**_: Any) -> Iterator[CheckMessage]:
    if settings.DEBUG:
        yield weakness(4, "DEBUG is on: answers show what went wrong inside.", "DEBUG=false")
    if settings.ENABLE_EXAMPLES and not settings.DEBUG:
        yield weakness(5, "The example pages are served to everybody.", "ENABLE_EXAMPLES=false")
    if "*" in settings.CORS_ORIGIN:
        yield weakness(
            6,
            "Pages of any origin may connect to the user gateway.",
            "CORS_ORIGIN=https://play.example.org",
        )
    if settings.RATE_LIMITS == "off":
        yield weakness(7, "No limit holds for anybody.", "RATE_LIMITS=on")
    if settings.ALLOW_QUERY_TOKEN:
        yield weakness(
            8,
            "Tokens are taken from addresses, which proxies and browsers keep.",
            "ALLOW_QUERY_TOKEN=false",
        )
    if _is_public(settings.INTERNAL_HOST):
        yield weakness(
            9,
            "The internal gateway and the admin listen on an address that is not this machine's"
            " own.",
            "INTERNAL_HOST=127.0.0.1, or a network that only the platform's machines are in",
        )
        if not settings.REQUIRE_SERVICE_APPROVAL:
            yield weakness(
                10,
                "Whoever reaches the internal gateway may register a service and write to every"
                " player.",
                "REQUIRE_SERVICE_APPROVAL=true",
            )


@register(TAG, deploy=True)
def check_store(**_: Any) -> Iterator[CheckMessage]:
    if settings.REDIS_EMBEDDED:
        return
    place = Place.of(settings.REDIS_URL)
    public = [host for host in place.hosts if _is_public(host)]
    if public and place.login.password is None:
        yield weakness(
            11,
            f"Redis at {public[0]} has no password.",
            "requirepass in its configuration, REDIS_PASSWORD here",
        )
    policy = _eviction_policy()
    if policy not in {None, "noeviction"}:
        yield weakness(
            12,
            f"Redis may throw messages and sessions away: its maxmemory-policy is {policy}.",
            "maxmemory-policy noeviction",
        )


def _is_weak(secret: str) -> bool:
    """Short, or of few different characters, or a word that everybody tries."""
    return (
        len(secret.encode()) < LONG_ENOUGH
        or len(set(secret)) < LONG_ENOUGH // 4
        or WELL_KNOWN.search(secret) is not None
    )


def _is_public(host: str) -> bool:
    """Whether others than this machine reach it. A name says nothing about that, unless it is one
    that only a private network's resolver knows.
    """
    if host == "localhost":
        return False
    try:
        address = ip_address(host)
    except ValueError:
        return "." in host
    return address.is_unspecified or not address.is_private


def _eviction_policy() -> str | None:
    """None where Redis does not say: whether it answers at all, /readyz knows."""
    try:
        return asyncio.run(_ask_policy())
    except (RedisError, OSError, TimeoutError):
        return None


async def _ask_policy() -> str:
    redis = connect(Place.of(settings.REDIS_URL), timeout_seconds=ASK_SECONDS)
    try:
        return str((await redis.info("memory")).get("maxmemory_policy"))
    finally:
        await redis.aclose()
