"""Tokens: who their bearer is. SimpleJWT validates them; what the platform adds to that is here."""

import asyncio
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import jwt
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import PyJWKClientConnectionError
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.state import token_backend
from rest_framework_simplejwt.tokens import Token

from gateways.protocol.errors import AuthenticationFailed, Unavailable
from gateways.protocol.events import MAX_ID_LENGTH
from gateways.session import Identity

#: A token is a few hundred bytes; one of many kilobytes only costs time to refuse.
MAX_TOKEN_LENGTH: Final = 8192
#: How long a client waits where the keys must be fetched first.
VERIFY_TIMEOUT_SECONDS: Final = 5.0


class RememberingHMAC(HMACAlgorithm):
    """PyJWT looks at every token whether the secret is not a public key by mistake, which takes a
    fourteenth of all that a connection costs. What was once found to be a secret stays one.
    """

    prepare_key = lru_cache(maxsize=8)(HMACAlgorithm.prepare_key)


for _name, _hash in (
    ("HS256", HMACAlgorithm.SHA256),
    ("HS384", HMACAlgorithm.SHA384),
    ("HS512", HMACAlgorithm.SHA512),
):
    jwt.unregister_algorithm(_name)
    jwt.register_algorithm(_name, RememberingHMAC(_hash))


class PlatformToken(Token):
    """As the platform's own API issues them: without `token_type` and `jti`."""

    token_type = "access"  # noqa: S105  # a claim
    lifetime = timedelta(hours=24)

    @classmethod
    def issue(
        cls, user_id: str, *, lifetime: timedelta, email: str | None = None, scope: str = ""
    ) -> str:
        token = cls()
        # SimpleJWT writes its type under whatever name the settings give, which here is none.
        token.payload = {"sub": user_id}
        token.set_iat(at_time=token.current_time)
        token.set_exp(from_time=token.current_time, lifetime=lifetime)
        if email:
            token["email"] = email
        if scope:
            token["scope"] = scope
        return str(token)


class TokenVerifier:
    """Turns a token into an Identity.

    A signature with a key at hand takes microseconds and is checked in place. Keys from a JWKS are
    fetched with a blocking client, so those tokens are verified on a thread, and no stranger's
    token stalls the gateway.
    """

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        if api_settings.JWK_URL:
            self._threads = ThreadPoolExecutor(2, thread_name_prefix="jwks")

    async def verify(self, token: str) -> Identity:
        """Raises AuthenticationFailed; Unavailable where the keys can't be fetched."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationFailed("The token is too long.")
        if self._threads is None:
            return _verify(token)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(VERIFY_TIMEOUT_SECONDS):
                return await loop.run_in_executor(self._threads, _verify, token)
        except TimeoutError:
            raise Unavailable("The keys that sign tokens can't be fetched now.") from None

    async def prefetch(self) -> None:
        """Fetch the keys before the first token needs them. A failure shows with that token."""
        if self._threads is not None:
            loop = asyncio.get_running_loop()
            fetch = loop.run_in_executor(self._threads, _fetch_keys)
            await asyncio.wait([fetch], timeout=VERIFY_TIMEOUT_SECONDS)
            if fetch.done() and not fetch.cancelled():
                fetch.exception()

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _verify(token: str) -> Identity:
    try:
        payload = PlatformToken(token).payload  # type: ignore[arg-type]  # SimpleJWT mistypes it
    except TokenError as error:
        if any(isinstance(cause, PyJWKClientConnectionError) for cause in _causes(error)):
            raise Unavailable("The keys that sign tokens can't be fetched now.") from error
        raise AuthenticationFailed(f"{error}.") from None
    except (ValueError, TypeError, OverflowError, OSError):
        # Claims of a kind that SimpleJWT does not expect, as `"exp": "tomorrow"`.
        raise AuthenticationFailed("The token's claims are malformed.") from None
    return _identity(payload)


def _fetch_keys() -> None:
    client = token_backend.jwks_client
    if client is not None:
        client.get_jwk_set()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _identity(payload: dict[str, Any]) -> Identity:
    # No type is required, but a token that names one must be for access: a refresh token of the
    # same key is not.
    if payload.get("token_type", "access") != "access":
        raise AuthenticationFailed("The token is not for access.")
    user_id = payload.get("sub")
    if not isinstance(user_id, str) or not 0 < len(user_id) <= MAX_ID_LENGTH:
        raise AuthenticationFailed(f"sub: expected a string of 1 to {MAX_ID_LENGTH} characters.")
    if not user_id.isprintable():
        raise AuthenticationFailed("sub: expected printable characters only.")
    email = payload.get("email")
    scope = payload.get("scope")
    expires_at = float(payload["exp"])
    if not math.isfinite(expires_at):
        raise AuthenticationFailed("The token's claims are malformed.")
    return Identity(
        user_id=user_id,
        expires_at=expires_at,
        email=email if isinstance(email, str) and email.isprintable() else None,
        device_info=_device_info(payload),
        scope=frozenset(scope.split() if isinstance(scope, str) else ()),
    )


def _device_info(payload: dict[str, Any]) -> Any:
    """What the platform's API saw of the device when it issued the token."""
    device_info, ip_address = payload.get("deviceInfo"), payload.get("ipAddress")
    if ip_address is None:
        return device_info
    if isinstance(device_info, dict):
        return {**device_info, "ipAddress": ip_address}
    return {"device": device_info, "ipAddress": ip_address}
