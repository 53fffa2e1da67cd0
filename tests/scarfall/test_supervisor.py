"""The supervisor as a terminal sees it: real processes, real ports, real signals."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scarfall.conftest import Manage, Served
from tests.waiting import wait_until

Serve = Callable[[], Served]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything(serve: Serve, number: signal.Signals) -> None:
    server = serve()
    assert len(server.pids) == 3  # two gateways and Valkey
    begun = time.monotonic()
    code, out, err = server.stop(number)
    assert (code, err) == (0, "")
    assert time.monotonic() - begun < 15
    assert server.left() == []
    assert f"127.0.0.1:{server.manage.environ['PORT']}/ws" in out
    assert "jwt_secret" in out
    assert ".venv/bin/python manage.py chat alice" in out


def test_each_port_serves_its_own(serve: Serve) -> None:
    server = serve()
    assert server.get("PORT", "/healthz") == 200
    assert server.get("INTERNAL_PORT", "/admin/login/") == 200
    assert server.get("INTERNAL_PORT", "/static/unfold/css/styles.css") == 200
    for path in ("/admin/", "/admin/login/", "/static/unfold/css/styles.css", "/nowhere"):
        assert server.get("PORT", path) == 404


def test_a_machine_without_an_operator_is_told_how_to_make_one(
    manage: Manage, serve: Serve
) -> None:
    _, out, _ = serve().stop()
    (command,) = re.findall(r"nobody may enter yet: \.venv/bin/python manage\.py (.+)", out)
    manage.environ["DJANGO_SUPERUSER_PASSWORD"] = "a password that only olga knows"
    unattended = ("--noinput", "--username", "olga", "--email", "olga@example.org")
    assert manage.run(*command.split(), *unattended)[0] == 0
    _, out, _ = serve().stop()
    assert "/admin/" in out
    assert "nobody may enter" not in out


def test_the_example_pages_are_named_where_they_are_served(manage: Manage, serve: Serve) -> None:
    manage.environ["ENABLE_EXAMPLES"] = "true"
    server = serve()
    assert server.get("PORT", "/") == server.get("INTERNAL_PORT", "/") == 200
    _, out, _ = server.stop()
    port, internal_port = manage.environ["PORT"], manage.environ["INTERNAL_PORT"]
    assert f"http://127.0.0.1:{port}/   http://127.0.0.1:{internal_port}/" in out


def test_a_second_start_is_quick_and_makes_nothing_new(serve: Serve) -> None:
    serve().stop()
    # The promise is 3 s on an idle machine of two cores. Tests share theirs, so that what it works
    # is measured, not how long it waits for a core: that of its processes, from start to end.
    before = _cpu_of_children()
    server = serve()
    _, out, _ = server.stop()
    assert "secret of this machine" not in out
    assert _cpu_of_children() - before < 5


def _cpu_of_children() -> float:
    """Seconds, of those that ended and were waited for, with their own."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_gateway_that_dies_is_started_again(manage: Manage, serve: Serve) -> None:
    manage.environ["WEB_CONCURRENCY"] = "2"
    server = serve()
    (victim,) = server.children("gateway_process internal")
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: set(server.children("gateway_process internal")) - {victim}, "another gateway"
    )
    server.wait_ready()
    code, _, err = server.stop()
    assert code == 0
    assert "internal died with exit code -9" in err
    assert server.left() == []


def test_a_gateway_that_hangs_says_where_and_is_started_again(manage: Manage, serve: Serve) -> None:
    (manage.directory / "sitecustomize.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))\n"
    )
    manage.environ |= {"PYTHONPATH": str(manage.directory), "HANG_TIMEOUT": "4"}
    server = serve()
    (victim,) = server.children("gateway_process user")
    os.kill(victim, signal.SIGUSR1)
    wait_until(lambda: set(server.children("gateway_process user")) - {victim}, "another gateway")
    server.wait_ready()
    code, _, err = server.stop()
    assert code == 0
    assert "Gateway user hangs; it is killed" in err
    assert 'sitecustomize.py", line 2 in <lambda>' in err
    assert "user died with exit code -9" in err
    assert server.left() == []


def test_a_gateway_that_dies_again_and_again_ends_the_server(serve: Serve) -> None:
    server = serve()
    dead: set[int] = set()
    while server.process.poll() is None and len(dead) < 5:
        for pid in server.children("gateway_process internal"):
            if pid not in dead:
                os.kill(pid, signal.SIGKILL)
                dead.add(pid)
    _, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 1
    log_file = server.manage.directory / "logs" / "internal.log"
    assert err.splitlines()[-1] == (
        f"Gateway internal died 5 times in a row, the last time with exit code -9; see {log_file}"
    )
    assert server.left() == []


def test_one_that_cannot_start_leaves_the_running_one_its_metrics(
    manage: Manage, serve: Serve
) -> None:
    server = serve()
    metrics = [p.name for p in (manage.directory / "var" / "metrics").iterdir()]
    assert len(metrics) == 2
    code, _, err = manage.run("serve")
    assert code == 1
    assert "already in use" in err
    assert [p.name for p in (manage.directory / "var" / "metrics").iterdir()] == metrics
    server.stop()


def test_valkey_that_dies_is_started_again(serve: Serve) -> None:
    server = serve()
    (victim,) = server.children("valkey-server")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: set(server.children("valkey-server")) - {victim}, "another Valkey")
    server.wait_ready()
    server.stop()
    assert server.left() == []


def test_kill_9_leaves_no_gateway_and_its_valkey_is_taken_over(serve: Serve) -> None:
    killed = serve()
    (valkey,) = killed.children("valkey-server")
    killed.process.kill()
    killed.process.wait()
    wait_until(
        lambda: not [line for line in killed.left() if "gateway_process" in line],
        "the gateways to end",
    )
    heir = serve()
    heir.pids.add(valkey)
    _, _, err = heir.stop()
    assert f"Took over the Valkey of an earlier server, process {valkey}" in err
    assert heir.left() == []


@pytest.mark.parametrize("variable", ["PORT", "INTERNAL_PORT"])
def test_a_port_in_use(manage: Manage, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        manage.environ[variable] = port = str(taken.getsockname()[1])
        code, _, err = manage.run("serve")
    assert (code, err) == (1, f"{variable} {port}: 127.0.0.1:{port} is already in use\n")


def test_a_bad_variable(manage: Manage) -> None:
    manage.environ["PORT"] = "http"
    for command in ("serve", "check"):
        code, _, err = manage.run(command)
        assert (code, err) == (1, "PORT: got 'http'; expected a whole number from 1 to 65535\n")


@pytest.mark.parametrize(("variable", "name"), [("DATA_DIR", "var"), ("LOG_DIR", "logs")])
def test_a_directory_that_cannot_be_written(
    manage: Manage, tmp_path: Path, variable: str, name: str
) -> None:
    # Root writes anywhere, but makes no directory below a file.
    (tmp_path / name).write_text("")
    code, _, err = manage.run("serve")
    assert code == 1
    assert err.startswith(f"{variable}: cannot write {tmp_path / name}")
    assert err.count("\n") == 1


def test_two_servers_never_share_a_data_directory(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    second = Manage(tmp_path)
    code, _, err = second.run("serve")
    assert code == 1
    assert f"is in use by process {first.process.pid}" in err
    assert err.count("\n") == 1


def test_a_database_that_does_not_answer(manage: Manage) -> None:
    manage.environ["DATABASE_URL"] = f"sqlite:///{manage.directory}/nowhere/db.sqlite3"
    code, _, err = manage.run("serve")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("DATABASE_URL: the database does not answer")


def test_a_valkey_that_cannot_start_leaves_nothing(manage: Manage) -> None:
    directory = manage.directory / "var" / "valkey"
    directory.mkdir(parents=True)
    (directory / "appendonlydir").write_text("")
    code, _, err = manage.run("serve")
    assert code == 1
    assert err == (
        f"The embedded Valkey ended with code 1; see {manage.directory / 'logs' / 'valkey.log'}\n"
    )


def test_logs_are_json_and_hold_no_token(serve: Serve) -> None:
    server = serve()
    server.get("PORT", "/ws?token=canary-of-the-logs")
    server.get("PORT", "/nowhere?token=canary-of-the-logs")
    _, out, err = server.stop()
    files = list((server.manage.directory / "logs").iterdir())
    assert {file.name for file in files} >= {"user.log", "internal.log", "valkey.log"}
    everything = out + err + "".join(file.read_text() for file in files)
    assert "canary-of-the-logs" not in everything
    for file in files:
        if file.name != "valkey.log":
            for line in file.read_text().splitlines():
                json.loads(line)
