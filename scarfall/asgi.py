"""The composition root: which application serves which port, and what each is built from."""

import asyncio
import itertools
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scarfall.settings")
_django = get_asgi_application()

import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from structlog.contextvars import bind_contextvars

from gateways import vitals
from gateways.config import Config
from gateways.consumers.base import GatewayConsumer
from gateways.consumers.internal import InternalConsumer
from gateways.consumers.user import UserConsumer
from gateways.domain.limits import Pace
from gateways.gateway import Gateway
from gateways.protocol.internal_events import MAX_FRIENDS
from gateways.protocol.plain import PlainCodec
from gateways.protocol.socketio import SocketIOCodec
from gateways.socketio.connection import Settings
from gateways.socketio.server import EngineServer
from gateways.store.durability import Durability
from gateways.store.errors import StoreUnavailable
from gateways.store.limits import Rate
from scarfall import metrics_socket
from scarfall.cors import readable

log = structlog.get_logger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Any], Awaitable[None]]

SOCKETIO_PATHS = ("/socket.io/", "/socket.io")

#: HTTP requests' ids in the log.
_requests = itertools.count(secrets.randbits(32))


def gateway_config() -> Config:
    return Config(
        redis_url=settings.REDIS_URL,
        redis_prefix=settings.REDIS_PREFIX,
        redis_timeout_seconds=settings.REDIS_TIMEOUT,
        durability=Durability(settings.DURABILITY),
        auth_timeout_seconds=settings.AUTH_TIMEOUT,
        session_expiry_seconds=settings.SESSION_EXPIRY,
        idle_timeout_seconds=settings.IDLE_TIMEOUT,
        offline_grace_seconds=settings.OFFLINE_GRACE,
        node_lease_seconds=settings.NODE_LEASE,
        reconcile_interval_seconds=settings.RECONCILE_INTERVAL,
        session_cleanup_interval_seconds=settings.SESSION_CLEANUP_INTERVAL,
        service_session_expiry_seconds=settings.SERVICE_SESSION_EXPIRY,
        service_session_idle_timeout_seconds=settings.SERVICE_SESSION_IDLE_TIMEOUT,
        failed_authentications=_rate(settings.LIMIT_FAILED_AUTHENTICATIONS),
        registrations=_rate(settings.LIMIT_REGISTRATIONS),
        admin_logins=_rate(settings.LIMIT_ADMIN_LOGINS),
        failed_tokens=_rate(settings.LIMIT_FAILED_TOKENS),
        connections=_rate(settings.LIMIT_CONNECTIONS),
        connections_at_once=_count(settings.MAX_ADDRESS_CONNECTIONS),
        sessions_of_a_user=_count(settings.MAX_USER_SESSIONS),
        admissions=_rate(settings.LIMIT_ADMISSIONS),
        frames=_rate(settings.LIMIT_FRAMES),
        frame_bytes=_rate(settings.LIMIT_BYTES),
        messages=_rate(settings.LIMIT_MESSAGES),
        recipients=_rate(settings.LIMIT_RECIPIENTS),
        presence_queries=_rate(settings.LIMIT_PRESENCE_QUERIES),
        allowed_service_types=settings.ALLOWED_SERVICE_TYPES,
        inbox_ttl_seconds=settings.INBOX_TTL,
        inbox_max_messages=settings.INBOX_MAX_MESSAGES,
        max_message_bytes=settings.MAX_MESSAGE_BYTES,
        max_recipients=settings.MAX_RECIPIENTS,
        max_outbound_bytes=settings.MAX_OUTBOUND_BYTES,
        detailed_presence_for_everyone=settings.DETAILED_PRESENCE == "everyone",
        allow_query_token=settings.ALLOW_QUERY_TOKEN,
        cors_origins=tuple(settings.CORS_ORIGIN),
    )


def _rate(limit: tuple[int, float]) -> Rate | None:
    return Rate(*limit) if settings.RATE_LIMITS == "on" else None


def _count(limit: int) -> int:
    return limit if settings.RATE_LIMITS == "on" else 0


def build_gateway() -> Gateway:
    """A gateway that is not started, inside the running event loop."""
    return Gateway(gateway_config(), get_channel_layer())


class GatewayApplication:
    """The ASGI application of one port: Django for HTTP, the consumer for plain and for Socket.IO
    clients, one gateway below.
    """

    def __init__(self, name: str, consumer: type[GatewayConsumer], django: Any) -> None:
        self.name = name
        self._django = django
        self._gateway: Gateway | None = None
        self._starting: asyncio.Task[None] | None = None
        #: Why the gateway can't serve yet.
        self._reason: str | None = "starting"
        self.max_frame_bytes = settings.MAX_FRAME_BYTES
        if not consumer.limited:  # a friend's id takes what a recipient's does
            self.max_frame_bytes += 140 * MAX_FRIENDS
        self._plain = consumer.as_asgi(start=self.running, codec=PlainCodec())
        self._socketio = self._engine_server(consumer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # The server has a task, and so a context, for each. A socket's requests have ids of
            # their own (gateways/consumers/request_id.py).
            bind_contextvars(request=f"{next(_requests) & 0xFFFFFFFF:08x}")
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] in SOCKETIO_PATHS:
            await self._socketio(scope, receive, send)
        elif scope["type"] == "websocket":
            serve = self._plain if scope["path"] == "/ws" else _no_socket
            await serve(scope, receive, send)
        else:
            scope = {
                **scope,
                "gateway": self.name,
                "readiness": self.ready_reason,
                "durability": self.durability,
                "running": self.running,
            }
            await self._django(scope, receive, send)

    async def running(self) -> Gateway:
        """The gateway of this process, started. Raises StoreUnavailable while it can't be.

        A server without lifespan events, as daphne, starts it with the first socket.
        """
        if self._gateway is None:
            self._gateway = build_gateway()
            self._starting = asyncio.create_task(self._start(self._gateway))
            await asyncio.wait([self._starting], timeout=settings.REDIS_TIMEOUT)
        if self._reason is not None:
            raise StoreUnavailable(self._reason)
        return self._gateway

    @property
    def gateway(self) -> "GatewayApplication":
        """What the server drains before it shuts down."""
        return self

    async def ready_reason(self) -> str | None:
        try:
            return await (await self.running()).ready_reason()
        except StoreUnavailable as error:
            return str(error)

    def durability(self) -> str | None:
        """What the store gave when it was last asked whether all is ready."""
        return self._gateway.durability.given if self._gateway is not None else None

    def number_sessions(self, prefix: str) -> None:
        """Among processes that share a port: what the ids of this one's sessions begin with."""
        self._socketio.prefix = prefix

    async def drain(self) -> None:
        if self._gateway is not None:
            await self._gateway.drain()
        await self._socketio.stop()

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        if self._gateway is not None:
            await self._gateway.stop()
            self._gateway = None

    def _observed(self) -> dict[str, float]:
        return vitals.observed(self._gateway) if self._gateway is not None else {}

    def _engine_server(self, consumer: type[GatewayConsumer]) -> EngineServer:
        # Without connection state recovery, and with it.
        consumers = [
            consumer.as_asgi(start=self.running, codec=SocketIOCodec(recovery=recovery))
            for recovery in (False, True)
        ]
        rates = (settings.LIMIT_FRAMES, settings.LIMIT_BYTES) if consumer.limited else ()
        frames, frame_bytes = [_rate(limit) for limit in rates] or (None, None)
        return EngineServer(
            consumer=consumers.__getitem__,
            settings=Settings(
                ping_interval_ms=settings.WS_PING_INTERVAL,
                ping_timeout_ms=settings.WS_PING_TIMEOUT,
                max_payload_bytes=self.max_frame_bytes,
                connect_timeout_seconds=settings.AUTH_TIMEOUT,
                max_outbound_bytes=settings.MAX_OUTBOUND_BYTES,
                recovery=settings.SOCKETIO_RECOVERY,
            ),
            cors_origins=settings.CORS_ORIGIN,
            door=lambda: self._gateway.door if self._gateway and consumer.limited else None,
            pace=lambda: Pace(frames, frame_bytes),
        )

    async def _start(self, gateway: Gateway) -> None:
        """Until it works: a store may be away at the start as well as later."""
        while self._reason is not None:
            try:
                await gateway.start()
                self._reason = None
            except StoreUnavailable as error:
                if str(error) != self._reason:
                    self._reason = str(error)
                    log.warning("waiting for the store", reason=self._reason)
                await asyncio.sleep(1)
            except Exception:
                log.exception("start failed")
                self._reason = "the gateway failed to start; its log says why"
                await asyncio.sleep(1)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        with suppress(StoreUnavailable):
            await self.running()
        async with metrics_socket.served(self.name, self._observed):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


async def _no_socket(scope: Scope, _receive: Receive, send: Send) -> None:
    """A path that serves no WebSocket: 404 where the server can say so, else its own refusal."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"Not found.\n"})
    else:
        await send({"type": "websocket.close"})


user_application = GatewayApplication("user", UserConsumer, readable(_django, settings.CORS_ORIGIN))
internal_application = GatewayApplication("internal", InternalConsumer, _django)
application = user_application
