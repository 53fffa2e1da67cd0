"""Keys: made, hashed slowly once, recognised quickly afterwards.

A key may be as short as 8 characters, so its hash must be slow (Django's password hasher). A
service that reconnects often pays for that once in each process: what is remembered then is a keyed
digest of the key, under a secret of this process alone, which is of no use to anyone who should
read it.

Measured with PBKDF2 as Django 5.2 has it: 300 ms for the first check of a right key, 5 µs for each
later one, 600 ms for a wrong key or an unknown service.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cache
from threading import Lock
from typing import Final

from django.contrib.auth.hashers import check_password, make_password
from django.utils.crypto import salted_hmac

MIN_KEY_LENGTH: Final = 8
MAX_KEY_LENGTH: Final = 256
#: Keys recognised quickly, the longest unused forgotten first: some for each service there may be.
MAX_REMEMBERED: Final = 1024

_secret: Final = secrets.token_bytes(32)
_lock: Final = Lock()
_remembered: Final[OrderedDict[tuple[str, bytes], None]] = OrderedDict()


def generate() -> str:
    """A key that nobody guesses: 256 bits, in characters that survive any shell and form."""
    return secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """Blocks for as long as a slow hash takes."""
    return make_password(key)


def find(key: str, key_hashes: Sequence[str]) -> str | None:
    """Which of at most two hashes is the key's. Slow, but for a key that was right before.

    Blocks for as long as two slow hashes take: call it on a thread. A wrong key takes two, whether
    there are two hashes, one, or none because there is no such service.
    """
    digest = hmac.digest(_secret, key.encode(), "sha256")
    if (recognised := _recognise(digest, key_hashes)) is not None:
        return recognised
    # Nobody's hash is made before it is needed, so that whoever comes first pays for it.
    candidates = [*key_hashes, _nobodys_hash(), _nobodys_hash()][:2]
    for key_hash in candidates:
        if check_password(key, key_hash) and key_hash in key_hashes:
            _remember(digest, key_hash)
            return key_hash
    return None


def first_fitting(key: str, key_hashes: Iterable[str]) -> str | None:
    """Which of the hashes is the key's. Unlike `find` it takes the longer the more it tries: for a
    boot, where nobody guesses. Each blocks for as long as a slow hash takes, empty ones not at all.
    """
    tried = dict.fromkeys(key_hash for key_hash in key_hashes if key_hash)
    return next((key_hash for key_hash in tried if check_password(key, key_hash)), None)


def environment_digest(name: str, key: str) -> str:
    """Tells at a boot whether the environment still gives a service the key that it gave last.

    A slow hash tells as well, at 300 ms a service and boot: it is asked where this does not match,
    for that may be SECRET_KEY's doing. This is quick, so it is keyed: without the deployment's
    SECRET_KEY nobody can try keys on it. Whoever has SECRET_KEY has the machine that holds
    CUSTOM_SERVICES too, in most cases; still a key there should be long enough not to be guessed.
    It never lets anyone in.
    """
    return salted_hmac(f"{__name__}.environment.{name}", key, algorithm="sha256").hexdigest()


@cache
def _nobodys_hash() -> str:
    """The hash of a key that nobody has."""
    return make_password(generate())


def _recognise(digest: bytes, key_hashes: Sequence[str]) -> str | None:
    with _lock:
        for key_hash in key_hashes:
            if (key_hash, digest) in _remembered:
                _remembered.move_to_end((key_hash, digest))
                return key_hash
    return None


def _remember(digest: bytes, key_hash: str) -> None:
    with _lock:
        _remembered[key_hash, digest] = None
        if len(_remembered) > MAX_REMEMBERED:
            _remembered.popitem(last=False)
