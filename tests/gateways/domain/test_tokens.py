"""Tokens: who may come in. Everything else is refused, and never with a defect."""

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pytest_django.fixtures import Settings

from gateways.domain import tokens
from gateways.domain.tokens import MAX_TOKEN_LENGTH, PlatformToken, TokenVerifier
from gateways.protocol.errors import AuthenticationFailed
from gateways.session import Identity
from tests.gateways.domain.signing import SECRET, KeyPair, configure_simplejwt, sign

Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Configure:
    return partial(configure_simplejwt, settings, monkeypatch)


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
