"""Logs: where lines go, in what form, and what never goes there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scarfall.logs import mask_secrets, spelled
from tests.scarfall.conftest import ROOT

PROGRAM = """
import logging, sys
from pathlib import Path
from scarfall import logs
logs.configure(logs.config(Path(sys.argv[1]), "user", "WARNING", "INFO"))
import structlog
structlog.get_logger("gateways.test").info("session_opened", user_id="alice")
logging.getLogger("gateways.test").warning("GET %s", "/ws?token=canary&v=1")
logging.getLogger("uvicorn.error").info("accepted /ws?token=canary")
try:
    password = "canary"
    raise ValueError("token=canary")
except ValueError:
    logging.getLogger("gateways.test").exception("failed")
"""


def test_json_in_the_file_and_lines_on_stderr(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path],
        cwd=ROOT, env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "user.log").read_text().splitlines()]
    assert [row["message"] for row in rows] == ["session_opened", "GET /ws?token=***&v=1", "failed"]
    assert rows[0] | {"timestamp": ""} == {
        "message": "session_opened",
        "user_id": "alice",
        "level": "info",
        "logger": "gateways.test",
        "timestamp": "",
    }
    assert "ValueError: token=***" in rows[2]["exception"]
    assert "session_opened" not in run.stderr
    assert "GET /ws?token=***&v=1" in run.stderr
    assert "token=canary" not in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("/ws?token=abc.def&x=1", "/ws?token=***&x=1"),
        ("bearer.eyJhbGci.eyJzdWIi.c2ln", "bearer.eyJhbGci.eyJzdWIi.***"),
        ('{"x": "say \\"token=abc\\""}', '{"x": "say \\"token=***\\""}'),  # it stays JSON
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_secrets_are_masked(line: str, masked: str) -> None:
    assert mask_secrets(None, "info", line) == masked


HOSTILE = "\x1b]0;title\x07\x1b[31mred\n2026-01-01 [info] forged\r\x9b2J\u202eevil\u2028\x00\ud800"

HOSTILE_PROGRAM = """
import logging, sys
from pathlib import Path
from scarfall import logs
logs.configure(logs.config(Path(sys.argv[1]), "user", "DEBUG", "DEBUG"))
import structlog
hostile = eval(sys.argv[2])
log = structlog.get_logger("gateways.test")
structlog.contextvars.bind_contextvars(user=hostile)
log.info("service " + hostile, service=hostile, origin=[{hostile: hostile}], path=(hostile,))
class Odd:
    def __repr__(self):
        return hostile
log.info("odd", odd=Odd(), number=1.5, nothing=None)
logging.getLogger("django.request").error("Not Found: %s", hostile, extra={"more": hostile})
def fail():
    raise ValueError(hostile)
try:
    try:
        fail()
    except ValueError as error:
        error.add_note(hostile)
        raise ExceptionGroup(hostile, [error, KeyError(hostile)]) from error
except ExceptionGroup:
    log.exception("failed", service=hostile)
"""


def test_nothing_that_a_client_names_is_obeyed(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", HOSTILE_PROGRAM, tmp_path, ascii(HOSTILE)],
        cwd=ROOT, env={}, capture_output=True, check=True,
    )  # fmt: skip
    console = run.stderr.decode()
    file = (tmp_path / "user.log").read_text()
    for text in (console, file, *_texts([json.loads(line) for line in file.splitlines()])):
        for line in text.split("\n"):
            assert line.isprintable(), ascii(line)
            assert not line.lstrip(" |+-").startswith("2026-01-01 [info] forged"), line
    assert "\\x1b[31mred\\n2026-01-01" in console
    assert len(file.splitlines()) == 4
    assert "in fail\n" in console  # a trace is still one of several lines
    assert "in fail\n" in json.loads(file.splitlines()[3])["exception"]
    odd = json.loads(file.splitlines()[1])
    assert (odd["number"], odd["nothing"]) == (1.5, None)


def _texts(value: object) -> list[str]:
    """All strings in it, names too. A trace's lines are its own."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.items() for each in item for text in _texts(each)]
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë 漢字 🎮", "Zoë 漢字 🎮"),
        ("a\tb\r\n", "a\\tb\\r\\n"),
        ("\x1b[0m\x9b\x7f", "\\x1b[0m\\x9b\\x7f"),
        ("\u202e\u2066\u200f\u061c\u2028", "\\u202e\\u2066\\u200f\\u061c\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_to_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert spelled(text) == shown


LEVELS_PROGRAM = """
import logging, sys
from pathlib import Path
from scarfall import logs
logs.configure(logs.config(Path(sys.argv[1]), "user", *sys.argv[2:]))
import structlog
structlog.contextvars.bind_contextvars(request="r-1")
logging.getLogger("websockets.server").debug("< TEXT canary")
logging.getLogger("django.request").error("Failed", extra={"request": object(), "status_code": 500})
structlog.get_logger("gateways.test").debug("step")
print(logging.getLogger("gateways.test").isEnabledFor(logging.DEBUG))
"""


@pytest.mark.parametrize(
    ("console", "file", "made"),
    [("INFO", "INFO", False), ("INFO", "DEBUG", True), ("DEBUG", "ERROR", True)],
)
def test_levels_and_whose_debug_lines_there_are(
    tmp_path: Path, console: str, file: str, made: bool
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LEVELS_PROGRAM, tmp_path, console, file],
        cwd=ROOT, env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == f"{made}\n"
    rows = [json.loads(line) for line in (tmp_path / "user.log").read_text().splitlines()]
    assert ("step" in [row["message"] for row in rows]) == (file == "DEBUG")
    assert ("step" in run.stderr) == (console == "DEBUG")
    assert "canary" not in run.stderr + repr(rows)  # a library's frames are nobody's business
    assert rows[0]["request"] == "r-1"
    assert rows[0]["status_code"] == 500
