import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest
from pytest_django.fixtures import Settings

from services_registry import keys
from tests.services_registry.conftest import at_once

KEY = "a key of some service"
HashesMade = Callable[[Callable[[], object]], int]


def seconds(do: Callable[[], object]) -> float:
    start = time.thread_time()
    do()
    return time.thread_time() - start


def test_a_generated_key_fits_and_is_never_the_same() -> None:
    made = {keys.generate() for _ in range(100)}
    assert len(made) == 100
    assert all(keys.MIN_KEY_LENGTH <= len(key) <= keys.MAX_KEY_LENGTH for key in made)


def test_the_hash_that_fits_is_found(quick_hashes: None) -> None:
    key_hash, other = keys.hash_key(KEY), keys.hash_key("another key")
    for hashes in ([key_hash], [key_hash, other], [other, key_hash]):
        keys._remembered.clear()
        assert keys.find(KEY, hashes) == key_hash
        assert keys.find(KEY, hashes) == key_hash
    assert keys.find(KEY, [other]) is None
    assert keys.find(KEY, []) is None


def test_a_right_key_is_slow_once() -> None:
    """With hashes as shipped."""
    key_hash = keys.hash_key(KEY)
    first = seconds(lambda: keys.find(KEY, [key_hash]))
    later = statistics.median(seconds(lambda: keys.find(KEY, [key_hash])) for _ in range(100))
    wrong = seconds(lambda: keys.find("a wrong key", [key_hash]))
    assert min(first, wrong) > 0.02
    assert later < 0.0005


def test_unknown_and_wrong_cost_the_same_every_time(hashes_made: HashesMade) -> None:
    key_hash, other = keys.hash_key(KEY), keys.hash_key("another key")
    assert keys.find(KEY, [key_hash])
    cases: tuple[list[str], ...] = ([], [key_hash], [other], [key_hash, other])
    for case in cases * 2:
        assert hashes_made(partial(keys.find, "a wrong key", case)) == 2


def test_whoever_comes_first_pays_for_nobodys_hash_known_or_not(hashes_made: HashesMade) -> None:
    key_hash = keys.hash_key(KEY)
    cases: tuple[list[str], ...] = ([], [key_hash], [key_hash, key_hash])
    for case in cases:
        keys._nobodys_hash.cache_clear()
        assert hashes_made(partial(keys.find, "a wrong key", case)) == 3


def test_a_key_that_was_replaced_is_not_recognised(quick_hashes: None) -> None:
    key_hash = keys.hash_key(KEY)
    assert keys.find(KEY, [key_hash]) == key_hash
    assert keys.find(KEY, [keys.hash_key("its successor")]) is None


def test_no_key_is_kept(quick_hashes: None) -> None:
    keys.find(KEY, [keys.hash_key(KEY)])
    ((_, digest),) = keys._remembered
    assert len(digest) == 32
    assert KEY not in repr(vars(keys))


def test_what_is_remembered_is_bounded_and_the_longest_unused_goes(
    quick_hashes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MAX_REMEMBERED", 3)
    hashes = {key: keys.hash_key(key) for key in ("one", "two", "three", "four")}
    for key in ("one", "two", "three", "one", "four"):
        assert keys.find(key, [hashes[key]])
    kept = [key_hash for key_hash, _ in keys._remembered]
    assert kept == [hashes["three"], hashes["one"], hashes["four"]]


def test_threads_do_not_disturb_each_other(
    quick_hashes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MAX_REMEMBERED", 2)
    hashes = {f"key {n}": keys.hash_key(f"key {n}") for n in range(8)}

    def check() -> bool:
        return all(
            keys.find(key, [key_hash]) == key_hash and keys.find("wrong", [key_hash]) is None
            for _ in range(50)
            for key, key_hash in hashes.items()
        )

    assert at_once(*[check] * 8) == [True] * 8
    assert len(keys._remembered) == 2


def test_a_boot_pays_for_what_it_tries(hashes_made: HashesMade) -> None:
    key_hash, other = keys.hash_key(KEY), keys.hash_key("another key")
    assert keys.first_fitting(KEY, [other, key_hash]) == key_hash
    assert keys.first_fitting(KEY, ["", other]) is None
    for case, cost in (([], 0), (["", ""], 0), ([key_hash, other], 1), ([other, other], 1)):
        assert hashes_made(partial(keys.first_fitting, KEY, case)) == cost


def test_an_environments_digest_is_of_name_key_and_secret(settings: Settings) -> None:
    digest = keys.environment_digest("billing", KEY)
    assert digest == keys.environment_digest("billing", KEY)
    assert digest != keys.environment_digest("billin", "g" + KEY)
    assert digest != keys.environment_digest("mailer", KEY)
    settings.SECRET_KEY = "another"
    assert digest != keys.environment_digest("billing", KEY)
