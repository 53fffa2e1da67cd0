"""What tests of the platform's services need besides a client and `services_database`."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.db import connection, connections

from services_registry import services
from services_registry.models import Service
from services_registry.services import Actor

P = ParamSpec("P")
T = TypeVar("T")

KEY = "a key of the tests"
OPERATOR = Actor("olga")


def add(name: str, **fields: Any) -> Service:
    """A service that an operator lets in. Not inside an event loop."""
    return services.register(
        name,
        KEY,
        origin=Service.Origin.OPERATOR,
        actor=OPERATOR,
        **{"service_type": "test", "description": "of a test", **fields},
    )


async def on_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What operators do and look at, as Django has it: on a thread, on a connection of its own."""

    def run() -> T:
        try:
            return call(*args, **kwargs)
        finally:
            connection.close()
            del connections["default"]

    return await asyncio.to_thread(run)


class Held:
    """Stands for a call on a thread, and holds it up there until `go` is set."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.begun = 0
        self.go = threading.Event()

    def __call__(self, *args: Any) -> Any:
        self.begun += 1
        assert self.go.wait(20)
        return self._call(*args)
