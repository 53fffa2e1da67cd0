"""Keys from a JWKS: whatever becomes of its endpoint, good tokens are not refused for it."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from pytest_django.fixtures import Settings

from gateways.domain import published_keys
from gateways.domain.tokens import TokenVerifier
from gateways.protocol.errors import AuthenticationFailed, Unavailable
from tests.gateways.domain import key_server as answers
from tests.gateways.domain.key_server import Answer, KeyServer, wrong
from tests.gateways.domain.signing import SECRET, KeyPair, configure_simplejwt, sign

OF_ENCRYPTION = {**KeyPair("RS256").jwk, "use": "enc"}
NAMELESS = {name: value for name, value in KeyPair("RS256").jwk.items() if name != "kid"}

WRONG = {
    "failed": answers.failed,
    "moved": answers.moved,
    "cut off": answers.cut_off,
    "reset": answers.reset,
    "silent": answers.silent,
    "no http": answers.no_http,
    "html": wrong(b"<!doctype html><title>Sign in</title>"),
    "nothing": wrong(b""),
    "not utf-8": wrong(b'{"keys": "\xff"}'),
    "too deep": wrong(b"[" * 100_000),
    "no object": wrong(b"[]"),
    "null": wrong(b"null"),
    "no keys": wrong(b"{}"),
    "empty": wrong(b'{"keys": []}'),
    "keys are no list": wrong(b'{"keys": {"a": 1}}'),
    "keys are no objects": wrong(b'{"keys": [1, "a"]}'),
    "keys of no kind": wrong(b'{"keys": [{"kid": "a"}]}'),
    "keys that break off": wrong(b'{"keys": [{"kid": "a", "kty": "RSA", "n": "AQAB"}]}'),
    "a key that PyJWT stumbles over": wrong(b'{"keys": [{"kid": "a", "kty": "oct"}]}'),
    "keys of another use": wrong(json.dumps({"keys": [OF_ENCRYPTION]}).encode()),
    "keys without an id": wrong(json.dumps({"keys": [NAMELESS]}).encode()),
}

each_wrong_answer = pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())

of_each_algorithm = pytest.mark.parametrize("pair", ["RS256", "ES256"], indirect=True)

Pace = Callable[..., None]


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Pace:
    def pace(**seconds: float) -> None:
        for name, value in seconds.items():
            assert hasattr(published_keys, f"{name.upper()}_SECONDS")
            monkeypatch.setattr(published_keys, f"{name.upper()}_SECONDS", value)

    return pace


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> KeyPair:
    return KeyPair(getattr(request, "param", "ES256"))


@pytest.fixture
def key_server(pair: KeyPair) -> Iterator[KeyServer]:
    server = KeyServer()
    server.keys = [pair.jwk]
    yield server
    server.stop()


@pytest.fixture
async def verifier(
    key_server: KeyServer, pair: KeyPair, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TokenVerifier]:
    configure_simplejwt(
        settings,
        monkeypatch,
        ALGORITHM=pair.algorithm,
        SIGNING_KEY="",
        VERIFYING_KEY="",
        JWK_URL=key_server.url,
    )
    verifier = TokenVerifier()
    yield verifier
    verifier.close()


def stranger(pair: KeyPair) -> str:
    """Signed by nobody's key, under an id that nobody has."""
    return pair.sign(kid=secrets.token_hex(4))


async def admitted(verifier: TokenVerifier, token: str) -> bool:
    """False where it is refused. Raises Unavailable."""
    try:
        return (await verifier.verify(token)).user_id == "alice"
    except AuthenticationFailed:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # threads make it so
            await asyncio.sleep(0.01)


async def until_fetched(key_server: KeyServer, times: int = 2) -> None:
    """Two fetches that begin from now on: the first may have been answered already."""
    before = key_server.fetches
    await until(lambda: key_server.fetches >= before + times)


# --- an endpoint that answers ---------------------------------------------------------------------


@of_each_algorithm
async def test_keys_are_fetched_once_and_ahead(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    await verifier.prefetch()
    assert key_server.fetches == 1
    for _ in range(5):
        assert await admitted(verifier, pair.sign())
    assert key_server.fetches == 1


async def test_they_are_fetched_by_the_first_token_where_they_were_not(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    assert all(await asyncio.gather(*[admitted(verifier, pair.sign()) for _ in range(5)]))
    assert key_server.fetches == 1


async def test_a_token_of_an_unknown_key_is_refused_without_a_fetch_each(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    await verifier.prefetch()
    for _ in range(10):
        assert not await admitted(verifier, stranger(pair))
    assert key_server.fetches == 1
    assert await admitted(verifier, pair.sign())


async def test_an_unknown_key_is_looked_for_again_after_a_while(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair, pace: Pace
) -> None:
    pace(cooldown=0.05)
    await verifier.prefetch()
    new = KeyPair(pair.algorithm)
    key_server.keys.append(new.jwk)
    await asyncio.sleep(0.1)
    assert await admitted(verifier, new.sign())
    assert await admitted(verifier, pair.sign())
    assert key_server.fetches == 2


@of_each_algorithm
async def test_a_known_kid_with_another_key_is_refused(
    verifier: TokenVerifier, pair: KeyPair
) -> None:
    assert not await admitted(verifier, KeyPair(pair.algorithm).sign(kid=pair.kid))


@pytest.mark.parametrize("token", ["", "a.b.c", "\ud800.a.b", sign(), sign(headers={"kid": ""})])
async def test_a_token_that_names_no_key_is_refused_without_a_fetch(
    verifier: TokenVerifier, key_server: KeyServer, token: str
) -> None:
    assert not await admitted(verifier, token)
    assert key_server.fetches == 0


async def test_a_key_that_is_taken_back_is_none_for_long(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair, pace: Pace
) -> None:
    pace(refresh=0.05)
    await verifier.prefetch()
    assert await admitted(verifier, pair.sign())
    new = KeyPair(pair.algorithm)
    key_server.keys = [new.jwk]
    await until_fetched(key_server)
    assert not await admitted(verifier, pair.sign())
    assert await admitted(verifier, new.sign())


@of_each_algorithm
async def test_a_key_of_another_kind_is_nobodys(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    """Not even by an id that it shares (RFC 7517, section 4.5)."""
    for algorithm in {"RS256", "ES256", "ES384"} - {pair.algorithm}:
        other = KeyPair(algorithm)
        key_server.keys = [{**other.jwk, "kid": pair.kid}, other.jwk, pair.jwk]
        await verifier.prefetch()
        assert not await admitted(verifier, other.sign())
        assert not await admitted(verifier, pair.sign(kid=other.kid))
        assert await admitted(verifier, pair.sign())


async def test_keys_of_another_algorithm_only_are_a_mistake_and_no_refusal(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    await verifier.prefetch()
    key_server.keys = [KeyPair("ES384").jwk]
    await verifier.prefetch()
    with pytest.raises(Unavailable):
        await verifier.verify(pair.sign())


async def test_nothing_is_fetched_where_tokens_are_signed_with_a_secret(
    key_server: KeyServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_simplejwt(settings, monkeypatch, SIGNING_KEY=SECRET, JWK_URL=key_server.url)
    verifier = TokenVerifier()
    await verifier.prefetch()
    assert await admitted(verifier, sign())
    assert key_server.fetches == 0


async def test_nothing_is_fetched_after_the_end(
    verifier: TokenVerifier, key_server: KeyServer, pace: Pace
) -> None:
    pace(refresh=0.02)
    await verifier.prefetch()
    verifier.close()
    await asyncio.sleep(0.1)
    assert key_server.fetches == 1


# --- one that does not, or answers wrongly --------------------------------------------------------


@each_wrong_answer
async def test_a_wrong_answer_is_unavailable_and_no_refusal(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair, pace: Pace, answer: Answer
) -> None:
    pace(refresh=0.05, retry=0.05)
    key_server.answer = answer
    await verifier.prefetch()  # a failure shows with the first token
    for _ in range(2):
        with pytest.raises(Unavailable):
            await verifier.verify(pair.sign())
    key_server.answer = answers.whole
    await until_fetched(key_server)
    assert await admitted(verifier, pair.sign())


@each_wrong_answer
async def test_known_keys_serve_on_whatever_is_answered(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair, pace: Pace, answer: Answer
) -> None:
    pace(refresh=0.05, retry=0.05)
    await verifier.prefetch()
    key_server.answer = answer
    await until_fetched(key_server, 3)
    assert await admitted(verifier, pair.sign())
    assert not await admitted(verifier, KeyPair(pair.algorithm).sign(kid=pair.kid))
    with pytest.raises(Unavailable):  # it may be a new one
        await verifier.verify(stranger(pair))


async def test_a_key_server_that_is_down_is_unavailable_and_no_refusal(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    key_server.stop()
    await verifier.prefetch()
    with pytest.raises(Unavailable):
        await verifier.verify(pair.sign())


async def test_known_keys_outlive_their_server(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair, pace: Pace
) -> None:
    pace(refresh=0.02, retry=0.02)
    await verifier.prefetch()
    key_server.stop()
    await asyncio.sleep(0.2)
    assert await admitted(verifier, pair.sign())


async def test_a_failed_fetch_is_not_repeated_for_each_who_asks(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    key_server.answer = answers.failed
    for _ in range(10):
        with pytest.raises(Unavailable):
            await verifier.verify(stranger(pair))
    assert key_server.fetches == 1


async def test_a_key_server_that_hangs_holds_up_nobody_whose_key_is_known(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair, pace: Pace
) -> None:
    pace(cooldown=0, fetch_timeout=1.0)
    await verifier.prefetch()
    key_server.answering.clear()
    strangers = [asyncio.create_task(verifier.verify(stranger(pair))) for _ in range(20)]
    await until(lambda: key_server.fetches == 2)
    token, begun = pair.sign(), time.monotonic()
    for _ in range(20):
        assert await admitted(verifier, token)
    assert time.monotonic() - begun < 0.5
    assert not any(task.done() for task in strangers)
    outcomes = await asyncio.gather(*strangers, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert key_server.fetches == 2


async def test_a_slow_key_server_holds_up_neither_the_loop_nor_its_client_for_long(
    key_server: KeyServer, verifier: TokenVerifier, pair: KeyPair, pace: Pace
) -> None:
    pace(fetch_timeout=0.3)
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
    assert await admitted(verifier, pair.sign())


async def test_an_answer_that_does_not_end_is_given_up_and_holds_up_no_later_one(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair, pace: Pace
) -> None:
    pace(fetch_timeout=0.3, retry=60)
    key_server.answer = key_server.drip
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        await verifier.verify(pair.sign())
    assert time.monotonic() - begun < 2
    key_server.answer = answers.whole
    await verifier.prefetch()
    assert await admitted(verifier, pair.sign())


async def test_who_no_longer_waits_ends_the_fetch_for_nobody_else(
    verifier: TokenVerifier, key_server: KeyServer, pair: KeyPair
) -> None:
    key_server.answering.clear()
    leaving, staying = (asyncio.create_task(verifier.verify(pair.sign())) for _ in range(2))
    await until(lambda: key_server.fetches == 1)
    leaving.cancel()
    await asyncio.wait([leaving])
    key_server.answering.set()
    assert (await staying).user_id == "alice"
    assert key_server.fetches == 1


def test_a_fetch_takes_three_seconds_at_most() -> None:
    assert published_keys.FETCH_TIMEOUT_SECONDS <= 3
