"""Parsers for the environment: text in, one typed value out, and what was expected instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import dj_database_url

from gateways.store.place import Engine, Place

T = TypeVar("T")


@dataclass(frozen=True)
class Parser(Generic[T]):
    """`convert` raises ValueError for whatever is not `expected`."""

    expected: str
    convert: Callable[[str], T]
    unit: str = ""


@dataclass(frozen=True)
class CustomService:
    """An entry of CUSTOM_SERVICES."""

    name: str
    key: str = field(repr=False)
    type: str
    description: str = ""


def _number(text: str) -> float:
    # float() and int() also take "1_000", "nan", "inf" and other scripts' digits.
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?", text, re.ASCII):
        raise ValueError(text)
    return float(text)


def integer(minimum: int, maximum: int, unit: str = "") -> Parser[int]:
    def convert(text: str) -> int:
        value = _number(text)
        if not value.is_integer() or not minimum <= value <= maximum:
            raise ValueError(text)
        return int(value)

    return Parser(f"a whole number from {minimum} to {maximum}", convert, unit)


def seconds(*, zero: bool = False) -> Parser[float]:
    """Up to ten years; `zero` where 0 switches something off."""

    def convert(text: str) -> float:
        value = _number(text)
        if not 0 <= value <= 315_360_000 or (value == 0 and not zero):
            raise ValueError(text)
        return value

    return Parser(f"a number of seconds, {'0 or more' if zero else 'more than 0'}", convert, "s")


def _rate(text: str) -> tuple[int, float]:
    match = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    return int(match[1]), float(match[2])


def _networks(text: str) -> tuple[str, ...]:
    """Also as they look on a listener for both families: ::ffff:10.0.0.0/104."""
    networks = [ip_network(part, strict=False) for part in _names(text)]
    mapped = [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}"
        for network in networks
        if network.version == 4
    ]
    return (*map(str, networks), *mapped)


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "on": True,
            "false": False, "0": False, "no": False, "off": False}[text.lower()]  # fmt: skip


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,9})\s*([smhdw]?)", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    unit = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2]]
    value = timedelta(seconds=int(match[1]) * unit)
    if not timedelta(0) < value <= timedelta(days=3650):
        raise ValueError(text)
    return value


def _level(text: str) -> str:
    return _LEVELS[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if text != "*" and (
        parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query
    ):
        raise ValueError(text)
    _ = parts.port  # raises where it is no port
    return text


def _origins(text: str) -> tuple[str, ...]:
    return tuple(_origin(origin) for origin in _names(text))


def _pem(text: str) -> str:
    # An .env file or an orchestrator often holds the key in one line, its line ends written as \n.
    key = text.replace("\\n", "\n").strip()
    if not re.fullmatch(r"-----BEGIN ([A-Z ]+)-----\n.+\n-----END \1-----", key, re.DOTALL):
        raise ValueError("no PEM block")
    return key + "\n"


def check_public_key(key: str, algorithm: str) -> None:
    """`key` is a PEM block. Raises ValueError, in words, where no token of the algorithm, an RS or
    ES one, could be verified with it.
    """
    # 30 ms of imports, which a start that has no such key does without.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    from jwt import InvalidKeyError, get_algorithm_by_name  # noqa: PLC0415

    kind = key.partition("\n")[0].strip("-").removeprefix("BEGIN ")
    try:
        public = load_pem_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"got a block of {kind}, which can't be read as a public key") from None
    try:
        get_algorithm_by_name(algorithm).prepare_key(public)
    except (TypeError, InvalidKeyError):
        raise ValueError("got a public key of another kind") from None


def _custom_services(text: str) -> tuple[CustomService, ...]:
    services: dict[str, CustomService] = {}
    for number, entry in enumerate(_names(text), start=1):
        name, key, type_, description = (
            *(part.strip() for part in entry.split(":", 3)),
            "",
            "",
            "",
            "",
        )[:4]
        # The name says which entry to mend. The rest may hold the key, even in the wrong place.
        who = (
            f"entry {number}"
            if not re.fullmatch(r"[a-z0-9_-]{1,64}", name)
            else f"entry {number}, {name!r},"
        )
        if not (who.endswith(",") and key and type_):
            raise ValueError(f"{who} does not fit")
        if name in services:
            raise ValueError(f"{who} repeats a name")
        services[name] = CustomService(name, key, type_, description)
    return tuple(services.values())


def _database(text: str) -> dict[str, Any]:
    config = dict(dj_database_url.parse(text))
    if config["ENGINE"] not in _DATABASES or not config["NAME"]:
        raise ValueError(text)
    return config


def choice(*values: str) -> Parser[str]:
    spelled = {value.lower(): value for value in values}
    return Parser(f"one of {', '.join(values)}", lambda text: spelled[text.lower()])


def url(*schemes: str) -> Parser[str]:
    def convert(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname or parts.port == 0:
            raise ValueError(text)
        return text

    return Parser(
        "a URL that starts with " + " or ".join(f"{scheme}://" for scheme in schemes), convert
    )


def _store_url(text: str) -> str:
    return Place.of(text).url


def _server_url(text: str) -> str:
    if Place.of(text).engine is not Engine.SINGLE:
        raise ValueError(text)
    return text


server_url: Final = Parser("a URL as redis://host, rediss://host or unix:///path", _server_url)
store_url: Final = Parser(
    "a URL as redis://host, rediss://host, unix:///path, redis+sentinel://host,host/name or"
    " redis+cluster://host,host",
    _store_url,
)


def pattern(expression: str, expected: str) -> Parser[str]:
    def convert(text: str) -> str:
        if not re.fullmatch(expression, text, re.ASCII):
            raise ValueError(text)
        return text

    return Parser(expected, convert)


_DATABASES = {"django.db.backends.postgresql", "django.db.backends.sqlite3"}

# The levels of Python's logging. The old service knew winston's too; each means the nearest one.
_LEVELS = {
    **dict.fromkeys(("silly", "debug", "verbose", "http"), "DEBUG"),
    "info": "INFO",
    **dict.fromkeys(("warn", "warning"), "WARNING"),
    "error": "ERROR",
    "critical": "CRITICAL",
}

#: What each algorithm verifies with (RFC 7518, sections 3.3 and 3.4).
PUBLIC_KEYS: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), "an RSA public key"),
    "ES256": "an EC public key on the curve P-256",
    "ES384": "an EC public key on the curve P-384",
    "ES512": "an EC public key on the curve P-521",
}

boolean = Parser("true or false", _boolean)
custom_services = Parser(
    "name:key:type[:description], comma-separated, each name once", _custom_services
)
database_url = Parser(
    "a URL such as postgres://user:password@host:5432/name or sqlite:////absolute/path", _database
)
duration = Parser("a duration such as 30m, 24h, 7d or 3600 (seconds)", _duration)
log_level = Parser("one of debug, info, warning, error, critical", _level)
names = Parser("a comma-separated list", _names)
networks = Parser("a comma-separated list of addresses and networks such as 10.0.0.0/8", _networks)
origins = Parser(
    "* or a comma-separated list of origins such as https://play.example.org", _origins
)
path = Parser("a path", lambda text: Path(text).expanduser())
pem = Parser("a public key in PEM form", _pem)
port = integer(1, 65535)
rate = Parser("<count>/<seconds>, as 20/60", _rate)
text = Parser("text", str)
