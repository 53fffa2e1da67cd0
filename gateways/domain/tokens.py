"""Tokens: who their bearer is. SimpleJWT validates them; what the platform adds to that is here."""

import math
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import jwt
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidTokenError
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from gateways.domain.published_keys import PublishedKeys
from gateways.protocol.errors import AuthenticationFailed
from gateways.protocol.events import MAX_ID_LENGTH
from gateways.session import Identity

#: A token is a few hundred bytes; one of many kilobytes only costs time to refuse.
MAX_TOKEN_LENGTH: Final = 8192


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

    def __init__(self, token: str | None = None, *, backend: TokenBackend | None = None) -> None:
        """`backend` is who verifies it, where that is not the configured one."""
        self._backend = backend
        super().__init__(token)  # type: ignore[arg-type]  # SimpleJWT mistypes it

    def get_token_backend(self) -> TokenBackend:
        return self._backend or super().get_token_backend()

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
    fetched on a thread, ahead of the tokens, so no stranger's token stalls the gateway.
    """

    def __init__(self) -> None:
        self._keys: PublishedKeys | None = None
        if api_settings.JWK_URL and not api_settings.ALGORITHM.startswith("HS"):
            self._keys = PublishedKeys(api_settings.JWK_URL, api_settings.ALGORITHM)

    async def verify(self, token: str) -> Identity:
        """Raises AuthenticationFailed; Unavailable where its key is not known and the keys can't be
        fetched.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationFailed("The token is too long.")
        if self._keys is None:
            return _verify(token)
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise AuthenticationFailed("The token's key is not published.")
        return _verify(token, _backend_of(key))

    async def prefetch(self) -> None:
        """Fetch the keys before the first token needs them. A failure shows with that token."""
        if self._keys is not None:
            await self._keys.fetch()

    def close(self) -> None:
        if self._keys is not None:
            self._keys.close()


def _key_id(token: str) -> str:
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except (InvalidTokenError, ValueError):  # the latter where the token has no form in UTF-8
        raise AuthenticationFailed("Token is invalid.") from None
    if not key_id:
        raise AuthenticationFailed("The token does not name its key.")
    return str(key_id)


def _backend_of(key: Any) -> TokenBackend:
    """As the configured one, but for the key."""
    return TokenBackend(
        api_settings.ALGORITHM,
        verifying_key=key,
        audience=api_settings.AUDIENCE,
        issuer=api_settings.ISSUER,
        leeway=api_settings.LEEWAY,
    )


def _verify(token: str, backend: TokenBackend | None = None) -> Identity:
    try:
        payload = PlatformToken(token, backend=backend).payload
    except TokenError as error:
        raise AuthenticationFailed(f"{error}.") from None
    except (ValueError, TypeError, OverflowError, OSError):
        # Claims of a kind that SimpleJWT does not expect, as `"exp": "tomorrow"`.
        raise AuthenticationFailed("The token's claims are malformed.") from None
    return _identity(payload)


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
