"""How this process connects to Redis/Valkey."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connect(url: str, *, timeout_seconds: float, max_connections: int = 16) -> "Redis":
    """A client that answers or fails within `timeout_seconds`, and never repeats a command by
    itself.

    redis-py repeats a command after a read time-out by default, which stores one message twice
    (redis-py#3554).
    """
    # A UNIX socket knows no keepalive, and redis-py refuses the option there.
    tcp = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return Redis.from_url(
        url,
        decode_responses=False,
        protocol=2,  # without what a server may push unasked
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=max_connections,
        **tcp,
    )
