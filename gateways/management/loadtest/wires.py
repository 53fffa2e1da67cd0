"""The two formats that players speak, from their side, without any Python object for a message.

A message's text begins with a mark, the run it belongs to and its number, so that it is found in a
frame whatever format that has, and whoever wrote it.
"""

import json
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from msgspec import Struct

#: The quotation mark is JSON's: no other text of ours begins so.
MARK: Final = b'"~'
RUN_DIGITS: Final = 8
NUMBER_DIGITS: Final = 10
_RUN: Final = slice(len(MARK), len(MARK) + RUN_DIGITS)
_NUMBER: Final = slice(_RUN.stop, _RUN.stop + NUMBER_DIGITS)


@dataclass(frozen=True, slots=True)
class Answer:
    """`code` says why a message was refused; it is empty where it was taken."""

    number: int
    code: str


class _Data(Struct):
    status: str = ""
    code: str = "error"


class _Reply(Struct):
    id: int
    data: _Data


class Wire(Protocol):
    #: What the client says once the socket is open; empty where it has to wait for the server.
    def hello(self, token: str) -> bytes: ...

    def request(self, number: int, recipients: bytes, text: bytes) -> bytes:
        """`recipients`: their ids as JSON strings, with commas between."""

    def heartbeat(self, frame: bytes) -> bytes:
        """The answer, where the frame asks whether the client is there; else empty."""

    def answer(self, frame: bytes) -> Answer | None:
        """None where the frame is something else."""


def text(run: str, number: int, length: int) -> bytes:
    """A message of `length` characters, or as few more as it takes."""
    return b"~%b%0*x" % (run.encode(), NUMBER_DIGITS, number) + b"." * (
        length - 1 - RUN_DIGITS - NUMBER_DIGITS
    )


def find(frame: bytes, run: bytes) -> int | None:
    """The number of the message in the frame; None where there is none, or of another run."""
    at = frame.find(MARK)
    if at < 0 or frame[at + _RUN.start : at + _RUN.stop] != run:
        return None
    return int(frame[at + _NUMBER.start : at + _NUMBER.stop], 16)


class Plain:
    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Reply).decode

    def hello(self, token: str) -> bytes:
        return json.dumps({"event": "authenticate", "data": {"token": token}}).encode()

    def request(self, number: int, recipients: bytes, text: bytes) -> bytes:
        return b'{"event":"send_message","id":%d,"data":{"recipientIds":[%b],"message":"%b"}}' % (
            number,
            recipients,
            text,
        )

    def heartbeat(self, frame: bytes) -> bytes:  # noqa: ARG002  # WebSocket's own pings do
        return b""

    def answer(self, frame: bytes) -> Answer | None:
        try:
            reply = self._decode(frame)
        except msgspec.DecodeError:
            return None
        return Answer(reply.id, reply.data.code if reply.data.status == "error" else "")


class SocketIO:
    """Engine.IO 4 and Socket.IO 5 over a WebSocket."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(tuple[_Data]).decode

    def hello(self, token: str) -> bytes:
        return b"40" + json.dumps({"token": token}).encode()

    def request(self, number: int, recipients: bytes, text: bytes) -> bytes:
        return b'42%d["send_message",{"recipientIds":[%b],"message":"%b"}]' % (
            number,
            recipients,
            text,
        )

    def heartbeat(self, frame: bytes) -> bytes:
        return b"3" if frame == b"2" else b""

    def answer(self, frame: bytes) -> Answer | None:
        if not frame.startswith(b"43"):
            return None
        number, bracket, rest = frame[2:].partition(b"[")
        (data,) = self._decode(bracket + rest)
        return Answer(int(number), data.code if data.status == "error" else "")


def of(url: str) -> Wire:
    """The format that is spoken at an address."""
    return SocketIO() if "/socket.io" in url else Plain()
