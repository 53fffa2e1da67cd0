"""Where the store is, as REDIS_URL says: one server, the one that Sentinels name, or a cluster."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379

Address = tuple[str, int]

_SEVERAL: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://"
    r"(?P<netloc>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)


class Engine(StrEnum):
    SINGLE = "redis"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


@dataclass(frozen=True, slots=True)
class Login:
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """`addresses` are the Sentinels', or nodes of the cluster; there are none of a single server,
    whose URL redis-py reads. `sentinel_login` is for the Sentinels themselves.
    """

    url: str
    engine: Engine
    addresses: tuple[Address, ...] = ()
    #: The primary's name, as its Sentinels have it.
    service: str = ""
    database: int = 0
    login: Login = Login()
    sentinel_login: Login = Login()
    tls: bool = False

    @classmethod
    def of(cls, url: str) -> "Place":
        """Raises ValueError where it is none of

            redis://[user:password@]host[:port][/database], rediss://…, unix:///path[?db=…]
            redis+sentinel://[user:password@]host[:port],…/name[/database][?username=…&password=…]
            redis+cluster://[user:password@]host[:port],…

        `rediss+…` is the same over TLS. A name's or a password's special characters are escaped
        as in any URL.
        """
        # urlsplit() takes one host only, where one of several is an IPv6 address.
        several = _SEVERAL.fullmatch(url)
        if several is None:
            return cls._single(url)
        engine, tls = Engine(f"redis+{several['kind']}"), several["scheme"] == "rediss"
        login, _, hosts = several["netloc"].rpartition("@")
        port = SENTINEL_PORT if engine is Engine.SENTINEL else REDIS_PORT
        addresses = tuple(_address(host, port) for host in hosts.split(","))
        name, database = _path(several["path"])
        if engine is Engine.CLUSTER and (name or several["query"]):
            raise ValueError(url)  # a cluster has no databases
        if engine is Engine.SENTINEL and not name:
            raise ValueError(url)
        query = {key: values[-1] for key, values in parse_qs(several["query"] or "").items()}
        if query.keys() - {"username", "password"}:
            raise ValueError(url)
        return cls(
            url=url,
            engine=engine,
            addresses=addresses,
            service=name,
            database=database,
            login=_login(login),
            sentinel_login=Login(query.get("username"), query.get("password")),
            tls=tls,
        )

    @classmethod
    def _single(cls, url: str) -> "Place":
        parts = urlsplit(url)
        host = parts.path if parts.scheme == "unix" else parts.hostname
        if parts.scheme not in {"redis", "rediss", "unix"} or not host or parts.port == 0:
            raise ValueError(url)
        login = Login(parts.username, parts.password)
        return cls(url, Engine.SINGLE, login=login, tls=parts.scheme == "rediss")

    @property
    def hosts(self) -> list[str]:
        """Those that are reached by TCP."""
        if self.engine is not Engine.SINGLE:
            return [host for host, _ in self.addresses]
        parts = urlsplit(self.url)
        return [] if parts.scheme == "unix" else [parts.hostname or ""]


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0 or parts.path or parts.username is not None:
        raise ValueError(text)
    return parts.hostname, parts.port or default_port


def _path(path: str) -> tuple[str, int]:
    """A Sentinel's path: the primary's name, and perhaps a database."""
    name, slash, database = path.removeprefix("/").partition("/")
    return unquote(name), int(database) if slash else 0


def _login(text: str) -> Login:
    username, _, password = text.partition(":")
    return Login(unquote(username) or None, unquote(password) or None)
