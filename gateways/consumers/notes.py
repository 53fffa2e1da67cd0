"""What the trail is told of a socket: how its session began, what was refused, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateways.protocol.errors import TERMINAL_CODES
from gateways.trail import MAX_TEXT

if TYPE_CHECKING:
    from gateways.consumers.base import GatewayConsumer
    from gateways.protocol.codec import Inbound
    from gateways.store.records import Opened


def note_beginning(
    socket: GatewayConsumer,
    device_id: str | None,
    opened: Opened,
    resume: tuple[str, int] | None,
) -> None:
    if socket.gateway.trail.on:
        socket.gateway.trail.note(
            "connected",
            socket.user_id,
            session_id=socket.socket_id,
            device_id=device_id,
            address=socket.address,
            resumed_after=resume[1] if resume else None,
            lost=opened.reason,
            missed=opened.missed,
            position=opened.position,
            seq=opened.seq,
            epoch=opened.epoch,
        )


def note_refusal(
    socket: GatewayConsumer,
    code: str,
    inbound: Inbound | None,
    retry_after_ms: int | None = None,
) -> None:
    if socket.gateway.trail.on:
        socket.gateway.trail.note(
            "refused",
            socket.user_id,
            code=code,
            event_name=inbound.event[:MAX_TEXT] if inbound else None,
            retry_after_ms=retry_after_ms,
            session_id=socket.socket_id,
            address=socket.address,
        )


def note_end(socket: GatewayConsumer) -> None:
    if socket.gateway.trail.on:
        closed, left_with = socket.outbound.close_code, socket.left_with
        # A Socket.IO client that breaks that protocol is sent away by its connection.
        by_client = closed is None and left_with not in TERMINAL_CODES
        socket.gateway.trail.note(
            "disconnected",
            socket.user_id,
            by="client" if by_client else "gateway",
            code=left_with if closed is None else closed,
            reason=socket.outbound.close_reason,
            session_id=socket.socket_id,
        )
