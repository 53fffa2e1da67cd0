"""Logs: where lines go, in what form, and what never goes there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scarfall.logs import mask_secrets
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
