"""websockets' protocol, where it asks less of a peer than RFC 6455 does, and what it answers by
itself over HTTP.
"""

import codecs
from collections.abc import Mapping
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.server import ServerProtocol

from gateways.server import headers

_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class StrictProtocol(ServerProtocol):
    """A peer may close in the midst of a message (section 5.4); and one that is no text is not
    waited for to its last fragment (section 8.1), as whoever sends it may never send that.
    """

    #: The connection's; of the request's, once there is one.
    scope: Mapping[str, Any]
    _text: codecs.IncrementalDecoder | None = None

    def send_response(self, response: Response) -> None:
        """A refusal has the headers of every response."""
        if response.status_code != 101:
            given = [
                (name.encode(), value.encode()) for name, value in response.headers.raw_items()
            ]
            for name, value in headers.missing(given, secure=headers.is_secure(self.scope)):
                response.headers[name.decode()] = value.decode()
        super().send_response(response)

    def recv_frame(self, frame: Frame) -> None:
        """Raises UnicodeDecodeError, of which the caller makes 1007; ProtocolError."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        elif frame.opcode is Opcode.TEXT and not frame.fin:
            self._text = _utf8_decoder()
        super().recv_frame(frame)
        if self._text is not None and frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._text.decode(frame.data, final=frame.fin)
            if frame.fin:
                self._text = None
