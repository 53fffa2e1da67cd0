"""One user's socket."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from gateways.management.loadtest.wires import Answer, Wire, find

CONNECTED: Final = b'"connected"'
REFUSED: Final = (b'"authentication_error"', b'"error"')


# At its own level it says a line for each connection.
logging.getLogger("picows").setLevel(logging.WARNING)


class CannotConnect(Exception):
    """Why a user is not in: one sentence."""


class Player(WSListener):
    def __init__(
        self,
        index: int,
        wire: Wire,
        token: str,
        run: bytes,
        *,
        on_message: Callable[[int, int], None],
        on_answer: Callable[[Answer], None],
    ) -> None:
        self.index = index
        self.authenticated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone = False
        self._wire = wire
        self._token = token
        self._run = run
        self._on_message = on_message
        self._on_answer = on_answer
        self._transport: WSTransport | None = None

    def send(self, frame: bytes) -> None:
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, frame)

    def leave(self) -> None:
        if self._transport is not None and not self.gone:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.send(self._wire.hello(self._token))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self._refuse(f"closed with {frame.get_close_code()} {frame.get_close_reason() or ''}")
            transport.disconnect()
            return
        if frame.msg_type != WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        number = find(payload, self._run)
        if number is not None:
            self._on_message(number, self.index)
        elif beat := self._wire.heartbeat(payload):
            self.send(beat)
        elif not self.authenticated.done():
            self._look_for_welcome(payload)
        elif answer := self._wire.answer(payload):
            self._on_answer(answer)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002  # picows'
        self.gone = True
        self._refuse("the connection ended")

    def _look_for_welcome(self, payload: bytes) -> None:
        if CONNECTED in payload:
            self.authenticated.set_result(None)
        elif any(refusal in payload for refusal in REFUSED):
            self._refuse(payload.decode(errors="replace"))

    def _refuse(self, reason: str) -> None:
        if not self.authenticated.done():
            self.authenticated.set_exception(CannotConnect(reason.strip()))
            self.authenticated.exception()  # nobody may be waiting any more
