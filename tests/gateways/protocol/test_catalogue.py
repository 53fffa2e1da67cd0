"""The catalogue says what the code does: no push that is not made, none that is made and not in it,
a meaning for every request.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateways
from gateways.consumers.base import GatewayConsumer
from gateways.consumers.internal import InternalConsumer
from gateways.consumers.user import UserConsumer
from gateways.protocol.catalogue import (
    ASKED_BY_SERVICES,
    ASKED_BY_USERS,
    PUSHED_TO_SERVICES,
    PUSHED_TO_USERS,
)
from gateways.protocol.errors import CLOSES, GatewayError

ROOT = Path(gateways.__file__).parent
#: Who pushes, and to whom.
TO_ALL = {"consumers/base.py", "consumers/lifetime.py"}
TO_USERS = {"consumers/user.py", "fanout.py"}
TO_SERVICES = {"consumers/internal.py"}
#: A push method's own body, which has the event from its caller.
PASSED_ON = {"consumers/base.py", "session.py"}


def pushed_by(source: str) -> Iterator[str | None]:
    """The event of each call of a push method; None where it is no literal."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "push"
        ):
            event = node.args[0]
            yield str(event.value) if isinstance(event, ast.Constant) else None


def pushed_in() -> dict[str, set[str | None]]:
    """By file, those of all gateways' code that has any."""
    files = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in ROOT.rglob("*.py")}
    found = {name: set(pushed_by(source)) for name, source in files.items()}
    return {name: events for name, events in found.items() if events}


def test_what_is_pushed_is_in_the_catalogue() -> None:
    pushed = pushed_in()
    assert set(pushed) == TO_ALL | TO_USERS | TO_SERVICES | PASSED_ON
    assert {name for name, events in pushed.items() if None in events} == PASSED_ON

    def by(names: set[str]) -> set[str]:
        return {event for name in names for event in pushed[name] if event is not None}

    # A message is spliced by the codecs, for players only.
    assert by(TO_ALL | TO_USERS) | {"message"} == set(PUSHED_TO_USERS)
    assert by(TO_ALL | TO_SERVICES) == set(PUSHED_TO_SERVICES)


def test_a_push_would_be_found() -> None:
    assert list(pushed_by('self.push("news", payload)\nit.codec.push(event, payload)')) == [
        "news",
        None,
    ]


@pytest.mark.parametrize(
    ("consumer", "meanings"),
    [(UserConsumer, ASKED_BY_USERS), (InternalConsumer, ASKED_BY_SERVICES)],
)
def test_every_request_has_a_meaning(
    consumer: type[GatewayConsumer], meanings: dict[str, str]
) -> None:
    assert set(meanings) == set(consumer.handlers)


def test_the_long_form_has_every_event_and_code() -> None:
    page = (ROOT.parent / "docs" / "protocol.md").read_text("utf-8")
    events = {*ASKED_BY_USERS, *ASKED_BY_SERVICES, *PUSHED_TO_USERS, *PUSHED_TO_SERVICES}
    codes = {kind.code for kind in GatewayError.__subclasses__()}
    assert {name for name in events | codes if f"`{name}`" not in page} == set()
    assert {code for code in CLOSES if not re.search(rf"\b{code}\b", page)} == set()
