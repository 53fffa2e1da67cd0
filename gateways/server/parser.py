"""websockets' parser, where RFC 6455 asks for more of it."""

import codecs
from typing import Final

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class Parser(ServerProtocol):
    """A peer may close in the midst of a message (section 5.4); and one that is no text is not
    waited for to its last fragment (section 8.1), as whoever sends it may never send that.
    """

    _text: codecs.IncrementalDecoder | None = None

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
