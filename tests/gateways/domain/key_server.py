"""A JWKS over HTTP, which may be slow, or answer anything else."""

import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def whole(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def wrong(body: bytes) -> Answer:
    """200, and this instead of the keys."""
    return lambda handler, _: whole(handler, body)


def failed(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_error(503)


def moved(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/login")
    handler.end_headers()


def cut_off(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """As if the server died over it."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])


def reset(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Likewise, and the kernel says so: RST, not FIN."""
    cut_off(handler, body)
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # shutdown(), as socketserver calls it, would send a FIN first.
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()


def silent(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Hangs up without a word."""


def no_http(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.wfile.write(b"220 smtp.example.org ESMTP\r\n")


class KeyServer:
    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.answer: Answer = whole
        self.fetches = 0
        self.answering = threading.Event()
        self.answering.set()
        self.stopping = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.fetches += 1
                answer = server.answer
                server.answering.wait(20)
                answer(self, json.dumps({"keys": server.keys}).encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that hung up

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/jwks.json"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self._thread.start()

    def drip(self, handler: BaseHTTPRequestHandler, _: bytes) -> None:
        """A byte now and then, for ever: no read of it takes long."""
        handler.send_response(200)
        handler.end_headers()
        while not self.stopping.wait(0.05):
            handler.wfile.write(b" ")

    def stop(self) -> None:
        self.stopping.set()
        self.answering.set()
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()
