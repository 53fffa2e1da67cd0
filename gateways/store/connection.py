"""How this process connects to Redis/Valkey: each connection answers or fails within a time-out,
and never repeats a command by itself.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateways.store.place import Address, Engine, Login, Place

MAX_CONNECTIONS = 16


def connect(place: Place, *, timeout_seconds: float) -> "Redis":
    """A client whose connections go to the server, to the primary that the Sentinels name now, or
    to any node of the cluster. It makes them when they are used.
    """
    options = _options(place, timeout_seconds) | {
        "decode_responses": False,
        "protocol": 2,  # without what a server may push unasked
        "max_connections": MAX_CONNECTIONS,
    }
    match place.engine:
        case Engine.SINGLE:
            return Redis.from_url(place.url, **options)
        case Engine.SENTINEL:
            sentinels = Sentinel(  # type: ignore[no-untyped-call]
                place.addresses, sentinel_kwargs=_of_sentinels(place, timeout_seconds)
            )
            return _SentinelsRedis(sentinels, place.service, ssl=place.tls, **options)
        case Engine.CLUSTER:
            return Redis.from_pool(ConnectionPool(**_any_node(place), **options))


def node(address: Address, place: Place, *, timeout_seconds: float) -> "Redis":
    """A client of this one node of the cluster."""
    host, port = address
    return Redis(
        host=host,
        port=port,
        ssl=place.tls,
        decode_responses=False,
        protocol=2,
        max_connections=MAX_CONNECTIONS,
        **_options(place, timeout_seconds),
    )


def layer_host(place: Place, *, timeout_seconds: float) -> dict[str, Any]:
    """What channels-redis wants to know of the place, as one of its `hosts`.

    An idle subscriber is safe, since the layer polls it with a time-out of its own; the ping finds
    a peer that went away without a word.
    """
    options = _options(place, timeout_seconds) | {"health_check_interval": 10}
    match place.engine:
        case Engine.SINGLE:
            return {"address": place.url, **options}
        case Engine.SENTINEL:
            return {
                "master_name": place.service,
                "sentinels": list(place.addresses),
                "sentinel_kwargs": _of_sentinels(place, timeout_seconds),
                "ssl": place.tls,
                **options,
            }
        case Engine.CLUSTER:
            return {**_any_node(place), **options}


class AnyNode(Connection):
    """To whichever of the nodes answers first: in a cluster a publish at one reaches the
    subscribers of all (Redis Cluster specification, "Publish/Subscribe").
    """

    def __init__(self, *, nodes: Sequence[Address], **options: Any) -> None:
        super().__init__(**options)
        self._nodes = random.sample(nodes, len(nodes))

    async def _connect(self) -> None:
        error: Exception | None = None
        for address in self._nodes:
            self.host, self.port = address
            try:
                await super()._connect()  # type: ignore[no-untyped-call]
            except (RedisError, OSError, TimeoutError) as failure:
                error = failure
            else:
                return
        assert error is not None
        raise error


class AnyNodeByTLS(AnyNode, SSLConnection):
    """The same over TLS."""


class _SentinelsRedis(Redis):
    """It closes its connections to the Sentinels with the others."""

    def __init__(self, sentinels: Sentinel, service: str, **options: Any) -> None:
        pool = SentinelConnectionPool(service, sentinels, **options)  # type: ignore[no-untyped-call]
        super().__init__(connection_pool=pool)
        self._sentinels = sentinels

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: ARG002
        # It takes a pool that it was given for somebody else's.
        await super().aclose(close_connection_pool=True)
        await self._sentinels.aclose()


def _options(place: Place, timeout_seconds: float) -> dict[str, Any]:
    """redis-py repeats a command after a read time-out by default, which stores one message twice
    (redis-py#3554).
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    if not place.url.startswith("unix:"):  # which knows no keepalive; redis-py refuses the option
        options["socket_keepalive"] = True
    if place.engine is not Engine.SINGLE:
        options |= _as_options(place.login)
    if place.database:
        options["db"] = place.database
    return options


def _of_sentinels(place: Place, timeout_seconds: float) -> dict[str, Any]:
    """One that hangs leaves time to ask the next."""
    patience = timeout_seconds / (len(place.addresses) + 1)
    return {
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": Retry(NoBackoff(), 0),
        "ssl": place.tls,
        **_as_options(place.sentinel_login),
    }


def _any_node(place: Place) -> Mapping[str, Any]:
    return {
        "connection_class": AnyNodeByTLS if place.tls else AnyNode,
        "nodes": list(place.addresses),
    }


def _as_options(login: Login) -> dict[str, str]:
    return {
        name: value
        for name, value in (("username", login.username), ("password", login.password))
        if value is not None
    }
