import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection

from services_registry import selectors, services
from services_registry.models import Service
from services_registry.services import Actor

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("registry")

Command = Callable[..., str]


@pytest.fixture
def service(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command. Returns what it wrote to its standard output."""

    def run(*arguments: str) -> str:
        out = io.StringIO()
        call_command("service", *arguments, stdout=out, stderr=io.StringIO())
        return out.getvalue()

    return run


def lets_in(key: str, name: str = "billing") -> bool:
    return selectors.find_by_credentials(name, key) is not None


def test_add_with_a_generated_key_prints_it_alone(service: Command) -> None:
    key = service("add", "billing", "--type", "payments").strip()
    assert lets_in(key)
    assert selectors.get("billing").admitted
    assert key not in service("show", "billing") + service("list") + service(
        "show", "billing", "--json"
    )


def test_add_with_everything(service: Command, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-key-of-billing\n")
    arguments = ("--description", "Bills players", "--metadata", '{"tier": 1}')
    shown = service("add", "billing", "--type", "p", *arguments, "--key-file", str(file))
    assert shown == "billing: added.\n"
    assert lets_in("the-key-of-billing")
    found = selectors.get("billing")
    assert (found.description, found.metadata) == ("Bills players", {"tier": 1})
    assert found.origin == Service.Origin.OPERATOR


def test_add_with_a_key_from_standard_input(
    service: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the-key-of-billing\r\n"))
    service("add", "billing", "--type", "p", "--key-file", "-")
    assert lets_in("the-key-of-billing")


def test_changes_say_what_came_of_them(service: Command) -> None:
    service("add", "billing", "--type", "payments")
    for word, state in (
        ("disable", "disabled"),
        ("disable", "disabled"),
        ("reject", "disabled, rejected"),
        ("enable", "rejected"),
        ("approve", "enabled"),
    ):
        assert service(word, "billing") == f"billing: {state}.\n"
    assert selectors.get("billing").admitted


def test_a_rotation(service: Command) -> None:
    old = service("add", "billing", "--type", "payments").strip()
    new = service("rotate-key", "billing").strip()
    assert lets_in(old)
    assert lets_in(new)
    assert "two, while a rotation lasts" in service("show", "billing")
    service("drop-previous-key", "billing")
    assert not lets_in(old)
    assert lets_in(new)


def test_delete_wants_to_be_told_so(service: Command) -> None:
    service("add", "billing", "--type", "payments")
    with pytest.raises(CommandError, match="--yes"):
        service("delete", "billing")
    assert service("delete", "billing", "--yes") == "billing: deleted.\n"
    with pytest.raises(CommandError, match=r"No service is called billing\."):
        service("delete", "billing")


def test_who_did_it_is_in_the_trail(service: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "olga")
    service("add", "billing", "--type", "payments")
    (event,) = selectors.events("billing", 10)
    assert (event.actor, event.address) == ("olga (manage.py)", os.uname().nodename)

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    service("disable", "billing")
    assert selectors.events("billing", 1)[0].actor == f"{os.getuid()} (manage.py)"


def test_list(service: Command) -> None:
    assert service("list") == "0 services.\n"
    service("add", "mailer", "--type", "mail", "--description", "Sends\tletters\x1b[2J")
    service("add", "billing", "--type", "payments")
    service("disable", "billing")
    assert service("list").splitlines() == [
        "name\ttype\tstate\torigin\tlast authenticated\tdescription",
        "billing\tpayments\tdisabled\toperator\t-\t-",
        "mailer\tmail\tenabled\toperator\t-\tSends\ufffdletters\ufffd[2J",
        "2 services.",
    ]


def test_list_as_json(service: Command) -> None:
    assert json.loads(service("list", "--json")) == []
    service("add", "billing", "--type", "payments", "--metadata", '{"a": "ä"}')
    (listed,) = json.loads(service("list", "--json"))
    assert listed.pop("created").endswith("Z")
    assert listed == {
        "name": "billing",
        "type": "payments",
        "description": "",
        "enabled": True,
        "approval": "approved",
        "origin": "operator",
        "metadata": {"a": "ä"},
        "lastAuthenticated": None,
    }


def test_show(service: Command) -> None:
    service("add", "billing", "--type", "payments", "--metadata", '{"a": "ä"}')
    services.disable("billing", Actor("olga", "203.0.113.7"))
    shown = service("show", "billing").splitlines()
    assert "state\tdisabled" in shown
    assert 'metadata\t{"a": "ä"}' in shown
    assert "when\twhat\twho\tfrom\tdetail" in shown
    assert shown[-2].endswith("\tdisabled\tolga\t203.0.113.7\t-")


def test_show_as_json(service: Command) -> None:
    service("add", "billing", "--type", "payments")
    services.reject("billing", Actor("before"))
    olga = get_user_model().objects.create_user("olga")
    services.approve("billing", Actor("olga", "203.0.113.7", olga))
    shown: dict[str, Any] = json.loads(service("show", "billing", "--json"))
    assert (shown["approvedBy"], shown["keys"]) == ("olga", 1)
    assert [event["kind"] for event in shown["events"]] == ["approved", "rejected", "registered"]
    assert shown["events"][0]["address"] == "203.0.113.7"
    assert not any("hash" in name.lower() for name in shown)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("show", "nobody"), "No service is called nobody."),
        (("add", "Billing", "--type", "p"), "serviceName: expected"),
        (("add", "taken", "--type", "p"), "A service called taken is registered already."),
        (("add", "b", "--type", ""), "serviceType: expected"),
        (("add", "b", "--type", "p", "--metadata", "{"), "--metadata: expected a JSON object"),
        (("add", "b", "--type", "p", "--metadata", "[]"), "metadata: expected a JSON object"),
        (("add", "b", "--type", "p", "--metadata", "[" * 9999), "--metadata: expected"),
        (("add", "b", "--type", "p", "--key-file", "/nowhere"), "--key-file: /nowhere: No such"),
        (("add", "b", "--type", "p", "--key-file", os.devnull), "serviceKey: expected 8 to"),
        (("add", "b", "--type", "p", "--key-file", sys.executable), "expected UTF-8 text"),
    ],
)
def test_errors_are_one_line(service: Command, arguments: tuple[str, ...], error: str) -> None:
    service("add", "taken", "--type", "payments")
    with pytest.raises(CommandError) as raised:
        service(*arguments)
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)
    assert Service.objects.count() == 1


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(tmp_path),
        "LOG_DIR": str(tmp_path / "logs"),
        "JWT_SECRET": "a-secret-that-only-these-tests-know",
        "SECRET_KEY": "another-secret-that-only-these-tests-know",
        **variables,
    }


def test_a_database_that_was_never_made_is_one_line_too(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "manage.py", "service", "list"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert "no such table" in line
    assert "manage.py migrate" in line


def test_a_table_at_a_terminal(service: Command, tmp_path: Path) -> None:
    if connection.vendor != "sqlite":
        return
    service("add", "billing", "--type", "payments", "--description", "[bold]\x1b[2J")
    ours, theirs = pty.openpty()
    name = connection.settings_dict["NAME"]
    variables = environment(tmp_path, DATABASE_URL=f"sqlite:///{name}", TERM="xterm", COLUMNS="120")
    with subprocess.Popen(
        [sys.executable, "manage.py", "service", "list"], cwd=ROOT, env=variables, stdout=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        assert process.wait(30) == 0
    os.close(ours)
    text = shown.decode()
    assert "─────" in text
    assert "[bold]\ufffd[2J" in text
    assert "\x1b[2J" not in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's end of file where the other end was closed
        return b""
