"""How tests sign tokens, and say whose are good."""

import secrets
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pytest_django.fixtures import Settings
from rest_framework_simplejwt import settings as simplejwt, state
from rest_framework_simplejwt.backends import TokenBackend

from gateways.domain import tokens

SECRET = "a-secret-that-only-these-tests-know"


def configure_simplejwt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> None:
    """Set SIMPLE_JWT, and make what read it at its import read it again."""
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **changes}
    fresh = simplejwt.api_settings
    backend = TokenBackend(
        fresh.ALGORITHM,
        fresh.SIGNING_KEY,
        fresh.VERIFYING_KEY,
        fresh.AUDIENCE,
        fresh.ISSUER,
        fresh.JWK_URL,
        fresh.LEEWAY,
    )
    monkeypatch.setattr(state, "token_backend", backend)
    monkeypatch.setattr(tokens, "api_settings", fresh)


def sign(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    """A token that would pass, but for what the claims change. A claim of None is left out."""
    payload = {"sub": "alice", "exp": int(time.time()) + 3600, **claims}
    present = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(present, key, algorithm=algorithm, headers=headers)


class KeyPair:
    """Of RS256, ES256 or ES384."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.kid = secrets.token_hex(4)
        private: Any
        if algorithm == "RS256":
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            curve = ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1()
            private = ec.generate_private_key(curve)
            jwk = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        self.private: str = private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode()
        self.public: str = (
            private.public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )
        self.jwk = {**jwk, "kid": self.kid, "alg": algorithm, "use": "sig"}

    def sign(self, *, kid: str | None = None, **claims: Any) -> str:
        return sign(self.private, self.algorithm, {"kid": kid or self.kid}, **claims)
