"""What the operators' commands share: what is typed, the tokens they issue, a gateway to ask."""

import reprlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

from channels.layers import get_channel_layer
from django.conf import settings
from django.core.management.base import CommandError

from gateways.domain.tokens import PlatformToken
from gateways.gateway import Gateway
from gateways.protocol.events import MAX_ID_LENGTH
from gateways.store.errors import StoreUnavailable
from scarfall.values import Parser

T = TypeVar("T")


def user_id(typed: str) -> str:
    if not 0 < len(typed) <= MAX_ID_LENGTH or not typed.isprintable():
        raise CommandError(
            f"{reprlib.repr(typed)} is no user id; expected 1 to {MAX_ID_LENGTH} printable"
            " characters"
        )
    return typed


def option(name: str, typed: str, parser: Parser[T]) -> T:
    try:
        return parser.convert(typed)
    except (ValueError, KeyError):
        raise CommandError(
            f"{name}: got {reprlib.repr(typed)}; expected {parser.expected}"
        ) from None


def issue_token(
    user_id: str, *, lifetime: timedelta | None = None, email: str | None = None, scope: str = ""
) -> str:
    if settings.JWT_SECRET is None:
        raise CommandError(
            f"JWT_ALGORITHM is {settings.JWT_ALGORITHM}: this machine checks tokens and can't sign"
            " them; the platform's own issuer can"
        )
    lifetime = lifetime or settings.JWT_EXPIRATION
    return PlatformToken.issue(user_id, lifetime=lifetime, email=email, scope=scope)


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    """One that is not started: its domain, on the deployment's own store."""
    from scarfall.asgi import build_gateway  # noqa: PLC0415 - loads all of Django's middleware

    unstarted = build_gateway()
    try:
        yield unstarted
    except StoreUnavailable as error:
        hint = " (script/server starts it)" if settings.REDIS_EMBEDDED else ""
        raise CommandError(f"{str(error).rstrip('.')}{hint}") from None
    finally:
        await unstarted.stop()
        await get_channel_layer().flush()
