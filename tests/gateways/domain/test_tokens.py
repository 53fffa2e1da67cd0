"""Tokens: who may come in. Everything else is refused, and never with a defect."""

import asyncio
import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from gateways.domain.tokens import MAX_TOKEN_LENGTH, PlatformToken, TokenVerifier
from gateways.protocol.errors import AuthenticationFailed, Unavailable
from gateways.session import Identity

SECRET = "a-secret-that-only-these-tests-know"

Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Set SIMPLE_JWT, and make what read it at its import read it again."""

    def configure(**changes: Any) -> None:
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
        monkeypatch.setattr(tokens, "token_backend", backend)
        monkeypatch.setattr(tokens, "api_settings", fresh)

    return configure


def sign(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    """A token that would pass, but for what the claims change. A claim of None is left out."""
    payload = {"sub": "alice", "exp": int(time.time()) + 3600, **claims}
    present = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(present, key, algorithm=algorithm, headers=headers)


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign_raw(payload: bytes) -> str:
    """A token of a payload that PyJWT would not write."""
    signed = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(payload)}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = algorithm.sign(signed.encode(), algorithm.prepare_key(SECRET))
    return f"{signed}.{encode(signature)}"


async def verify(token: str) -> Identity:
    verifier = TokenVerifier()
    try:
        return await verifier.verify(token)
    finally:
        verifier.close()


async def refused(token: str) -> str:
    """The sentence that the client is told."""
    with pytest.raises(AuthenticationFailed) as refusal:
        await verify(token)
    assert refusal.value.close_code == 4401
    return str(refusal.value)


# --- what passes ----------------------------------------------------------------------------------


async def test_a_token_says_who_its_bearer_is() -> None:
    identity = await verify(
        sign(
            email="a@example.org", scope="presence:detailed chat", deviceInfo={"os": "x"}, exp=2**32
        )
    )
    assert identity == Identity(
        "alice",
        float(2**32),
        "a@example.org",
        {"os": "x"},
        frozenset({"presence:detailed", "chat"}),
    )


async def test_nothing_but_sub_and_exp_is_required() -> None:
    identity = await verify(sign())
    assert (identity.email, identity.device_info, identity.scope) == (None, None, frozenset())


async def test_optional_claims_of_another_kind_count_as_absent() -> None:
    identity = await verify(sign(email=1, scope=["presence:detailed"]))
    assert (identity.email, identity.scope) == (None, frozenset())


async def test_an_email_that_cannot_be_written_counts_as_absent() -> None:
    identity = await verify(sign_raw(b'{"sub":"alice","exp":9999999999,"email":"a\\ud800@x"}'))
    assert identity.email is None


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"deviceInfo": "phone"}, "phone"),
        ({"deviceInfo": {"os": "x"}, "ipAddress": "::1"}, {"os": "x", "ipAddress": "::1"}),
        ({"deviceInfo": "phone", "ipAddress": "::1"}, {"device": "phone", "ipAddress": "::1"}),
        ({"ipAddress": "::1"}, {"device": None, "ipAddress": "::1"}),
    ],
)
async def test_what_the_platform_saw_of_the_device_is_kept(
    claims: dict[str, Any], expected: Any
) -> None:
    assert (await verify(sign(**claims))).device_info == expected


@pytest.mark.parametrize("user_id", ["{a}:*", "}", "a b", "😀", "مرحبا", "x" * 128])
async def test_ids_of_any_script_pass(user_id: str) -> None:
    assert (await verify(sign(sub=user_id))).user_id == user_id


async def test_the_platforms_own_token_passes() -> None:
    token = PlatformToken.issue(
        "alice", lifetime=timedelta(hours=1), email="a@example.org", scope="presence:detailed"
    )
    identity = await verify(token)
    assert identity.user_id == "alice"
    assert identity.email == "a@example.org"
    assert identity.scope == {"presence:detailed"}
    assert 3500 < identity.expires_at - time.time() <= 3600
    bare = PlatformToken.issue("bob", lifetime=timedelta(hours=1))
    assert jwt.decode(bare, SECRET, ["HS256"]).keys() == {"sub", "iat", "exp"}


# --- what does not --------------------------------------------------------------------------------


async def test_a_token_without_a_signature_is_refused() -> None:
    await refused(sign("", "none"))
    for name in ("none", "None", "NONE", "nOnE"):
        claims = encode({"sub": "alice", "exp": 9999999999})
        await refused(f"{encode({'alg': name, 'typ': 'JWT'})}.{claims}.")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_another_algorithm_with_the_same_secret_is_refused(algorithm: str) -> None:
    long_secret = SECRET * 2  # PyJWT warns of short keys
    headers, claims, _ = sign(long_secret, algorithm).split(".")
    name = jwt.get_algorithm_by_name(algorithm)
    signature = name.sign(f"{headers}.{claims}".encode(), SECRET.encode())
    await refused(f"{headers}.{claims}.{encode(signature)}")


async def test_another_secret_is_refused() -> None:
    await refused(sign("another-secret-that-is-long-enough-too"))


async def test_a_changed_payload_is_refused() -> None:
    headers, _, signature = sign().split(".")
    claims = encode({"sub": "mallory", "exp": 9999999999})
    await refused(f"{headers}.{claims}.{signature}")


async def test_an_expired_token_is_refused_and_told_so() -> None:
    assert "expired" in await refused(sign(exp=int(time.time()) - 1))


async def test_a_token_that_never_expires_is_refused() -> None:
    await refused(sign(exp=None))


@pytest.mark.parametrize(
    "exp",
    [
        '"tomorrow"',
        '""',
        "null",
        "true",
        "[]",
        "{}",
        "-1",
        "0",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "1e300",
        "1e18",
        "9" * 30,
        "9" * 4000,
        '"NaN"',
        '"Infinity"',
        '"1e400"',
    ],
)
async def test_an_expiry_of_a_kind_that_is_none_is_refused(exp: str) -> None:
    await refused(sign_raw(b'{"sub":"alice","exp":%b}' % exp.encode()))


@pytest.mark.parametrize(
    "sub", [None, "", 7, True, [], {}, "x" * 129, "a\n", "\x00", "a\u2028", "\u202e"]
)
async def test_a_user_id_that_is_none_is_refused(sub: Any) -> None:
    await refused(sign_raw(json.dumps({"exp": 9999999999, "sub": sub}).encode()))


async def test_a_lone_surrogate_in_the_user_id_is_refused() -> None:
    await refused(sign_raw(b'{"exp":9999999999,"sub":"\\ud800"}'))


@pytest.mark.parametrize("token_type", ["refresh", "sliding", "", 1, True, [], {}])
async def test_a_token_of_another_type_is_refused(token_type: Any) -> None:
    await refused(sign(token_type=token_type))


async def test_a_token_that_names_itself_for_access_passes() -> None:
    assert (await verify(sign(token_type="access"))).user_id == "alice"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "not a token",
        "\x00",
        "é.é.é",
        "😀",
        "a" * 8192,
        "eyJhbGciOiJIUzI1NiJ9.W10.x",
    ],
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    await refused(token)


@pytest.mark.parametrize("payload", [b"[]", b"1", b"null", b'"sub"', b"{", b"\xff", b"[" * 5000])
async def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    await refused(sign_raw(payload))


async def test_a_token_that_is_too_long_is_refused_unread() -> None:
    token = sign(note="x" * MAX_TOKEN_LENGTH)
    assert "too long" in await refused(token)


# --- other configurations -------------------------------------------------------------------------


async def test_audience_and_issuer_are_enforced_where_they_are_configured(
    configure: Configure,
) -> None:
    configure(AUDIENCE="scarfall", ISSUER="https://platform")
    good: dict[str, Any] = {"aud": "scarfall", "iss": "https://platform"}
    assert (await verify(sign(**good))).user_id == "alice"
    assert (await verify(sign(**{**good, "aud": ["x", "scarfall"]}))).user_id == "alice"
    wrongs: tuple[dict[str, Any], ...] = (
        {"aud": "scarfall"},
        {"iss": "https://platform"},
        {**good, "aud": "another"},
        {**good, "iss": "https://another"},
        {**good, "aud": None},
    )
    for wrong in wrongs:
        await refused(sign(**wrong))


async def test_audience_and_issuer_are_no_matter_where_they_are_not() -> None:
    assert (await verify(sign(aud="anybody", iss="anyone"))).user_id == "alice"


class KeyPair:
    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.kid = secrets.token_hex(4)
        private: Any
        if algorithm == "RS256":
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            private = ec.generate_private_key(ec.SECP256R1())
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


@pytest.fixture(scope="module", params=["RS256", "ES256"])
def pair(request: pytest.FixtureRequest) -> KeyPair:
    return KeyPair(request.param)


async def test_a_public_key_verifies_and_no_secret_does(
    configure: Configure, pair: KeyPair
) -> None:
    configure(ALGORITHM=pair.algorithm, SIGNING_KEY="", VERIFYING_KEY=pair.public)
    assert (await verify(pair.sign())).user_id == "alice"
    await refused(sign())
    await refused(KeyPair(pair.algorithm).sign())
    # The public key as an HMAC secret is the classic confusion (RFC 8725, section 2.1).
    headers = encode({"alg": "HS256", "typ": "JWT"})
    signed = f"{headers}.{encode({'sub': 'alice', 'exp': 9999999999})}"
    hmac = jwt.get_algorithm_by_name("HS256")
    await refused(f"{signed}.{encode(hmac.sign(signed.encode(), pair.public.encode()))}")


# --- keys from a JWKS -----------------------------------------------------------------------------


class KeyServer:
    """A JWKS over HTTP, which may be slow."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.fetches = 0
        self.answering = threading.Event()
        self.answering.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.fetches += 1
                server.answering.wait(20)
                body = json.dumps({"keys": server.keys}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that hung up

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/jwks.json"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.answering.set()
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.stop()


@pytest.fixture
async def verifier(key_server: KeyServer, configure: Configure, pair: KeyPair) -> Any:
    key_server.keys = [pair.jwk]
    configure(ALGORITHM=pair.algorithm, SIGNING_KEY="", VERIFYING_KEY="", JWK_URL=key_server.url)
    verifier = TokenVerifier()
    yield verifier
    verifier.close()
    assert verifier._threads is not None
    key_server.answering.set()
    verifier._threads.shutdown(wait=True)


async def test_keys_are_fetched_once_and_ahead(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    await verifier.prefetch()
    assert key_server.fetches == 1
    for _ in range(5):
        assert (await verifier.verify(pair.sign())).user_id == "alice"
    assert key_server.fetches == 1


async def test_a_token_of_an_unknown_key_is_refused_without_a_fetch_each(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    await verifier.prefetch()
    for _ in range(10):
        with pytest.raises(AuthenticationFailed):
            await verifier.verify(pair.sign(kid=secrets.token_hex(4)))
    assert key_server.fetches <= 2
    assert (await verifier.verify(pair.sign())).user_id == "alice"


async def test_a_known_kid_with_another_key_is_refused(
    verifier: TokenVerifier, pair: KeyPair
) -> None:
    stranger = KeyPair(pair.algorithm)
    with pytest.raises(AuthenticationFailed):
        await verifier.verify(stranger.sign(kid=pair.kid))
    with pytest.raises(AuthenticationFailed):
        await verifier.verify(sign())


async def test_a_key_server_that_is_down_is_unavailable_and_no_refusal(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    key_server.http.shutdown()
    key_server.http.server_close()
    await verifier.prefetch()  # a failure shows with the first token
    with pytest.raises(Unavailable):
        await verifier.verify(pair.sign())


async def test_known_keys_serve_on_while_the_key_server_is_down(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    await verifier.prefetch()
    key_server.http.shutdown()
    key_server.http.server_close()
    assert (await verifier.verify(pair.sign())).user_id == "alice"


async def test_a_slow_key_server_holds_up_neither_the_loop_nor_its_client_for_long(
    verifier: TokenVerifier,
    key_server: KeyServer,
    pair: KeyPair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "VERIFY_TIMEOUT_SECONDS", 0.3)
    key_server.answering.clear()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - begun)

    watching = asyncio.create_task(watch())
    begun = time.monotonic()
    outcomes = await asyncio.gather(
        *[verifier.verify(pair.sign()) for _ in range(5)], return_exceptions=True
    )
    waited = time.monotonic() - begun
    watching.cancel()
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert waited < 2
    assert longest < 0.25
    key_server.answering.set()
    await verifier.prefetch()
    assert (await verifier.verify(pair.sign())).user_id == "alice"


async def test_a_secret_is_looked_at_once(configure: Configure) -> None:
    configure(SIGNING_KEY=SECRET)
    looked_at = tokens.RememberingHMAC.prepare_key.cache_info
    verifier, token = TokenVerifier(), sign()
    await verifier.verify(token)
    before = looked_at()
    for _ in range(3):
        assert (await verifier.verify(token)).user_id == "alice"
    assert looked_at().misses == before.misses
    assert looked_at().hits > before.hits


def test_a_public_key_is_still_no_secret() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for _ in range(2):
        with pytest.raises(jwt.InvalidKeyError):
            jwt.get_algorithm_by_name("HS256").prepare_key(pem)
