"""python-socketio's asyncio server with its Redis manager, on uvicorn and uvloop."""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from socket import socket
from typing import Any
from uuid import uuid4

import jwt
import redis.asyncio
import socketio
import uvicorn

REDIS_URL = os.environ["REDIS_URL"]
NAME = f"python-socketio-{os.getpid()}"

sio = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    client_manager=socketio.AsyncRedisManager(
        REDIS_URL,
        redis_options={
            "client_name": NAME,
            # Every emit that is on its way holds a connection. Beyond the default, 100, it fails,
            # and the manager starts over with a new pool, for each that fails.
            "max_connections": 10_000,
            # By default an emit is sent again where 5 s bring no answer, so it may come twice.
            "socket_timeout": None,
        },
    ),
)
users: dict[str, str] = {}
"""By socket id: cheaper than python-socketio's sessions."""


@sio.event
async def connect(sid: str, _environ: dict[str, Any], auth: dict[str, str] | None) -> None:
    try:
        claims = jwt.decode(
            (auth or {}).get("token", ""),
            os.environ["JWT_SECRET"],
            algorithms=["HS256"],
            options={"require": ["sub", "exp"]},
        )
    except jwt.InvalidTokenError:
        raise socketio.exceptions.ConnectionRefusedError("unauthenticated") from None
    users[sid] = claims["sub"]
    await sio.enter_room(sid, f"user:{users[sid]}")
    # Later, since the connection is accepted only when this function has returned; and to this
    # process' socket, so not by way of Redis.
    sio.start_background_task(
        sio.emit, "connected", {"user": {"userId": users[sid]}}, to=sid, ignore_queue=True
    )


@sio.event
async def disconnect(sid: str, _reason: str) -> None:
    del users[sid]


@sio.event
async def send_message(sid: str, request: dict[str, Any]) -> dict[str, str]:
    match request:
        case {"recipientIds": [*recipient_ids], "message": str(message)} if recipient_ids:
            pass
        case _:
            return {"status": "error", "error": "recipientIds: user ids; message: a string"}
    push = {
        "message": message,
        "metadata": {
            **request.get("metadata", {}),
            "source": "user",
            "senderId": users[sid],
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        },
    }
    if len(recipient_ids) == 1:
        push["recipientId"] = recipient_ids[0]
    await sio.emit("message", push, room=[f"user:{user_id}" for user_id in recipient_ids])
    return {"status": "sent", "messageId": str(uuid4())}


async def subscribe() -> None:
    """Now, not at the first connection, and until the subscription stands."""
    sio.manager_initialized = True
    sio.manager.initialize()
    async with redis.asyncio.Redis.from_url(REDIS_URL) as client:
        while not any(  # noqa: ASYNC110 - Redis tells only who asks
            each["name"] == NAME and each["sub"] == "1" for each in await client.client_list()
        ):
            await asyncio.sleep(0.01)


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket] | None = None) -> None:
        await subscribe()
        await super().startup(sockets)
        print("ready", flush=True)


# uvicorn stops at SIGTERM, then raises it again for whoever was there before.
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
Server(
    uvicorn.Config(
        socketio.ASGIApp(sio),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        # The fastest of uvicorn's.
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        # Engine.IO has a heartbeat of its own.
        ws_ping_interval=None,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
).run()
