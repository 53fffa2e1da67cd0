"""The systemd unit: what systemd says of it, and what its commands do to a real gateway."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dotenv import dotenv_values

from scarfall import child, environment
from tests.deploy.dockerfile import SERVICE_VARIABLES
from tests.e2e.gateways import ROOT, START_SECONDS, Deployment, GatewayProcess

UNIT = ROOT / "deploy/systemd/scarfall.service"
ENVIRONMENT = ROOT / "deploy/systemd/scarfall.env"
ANALYZE = shutil.which("systemd-analyze")
INSTALLED = "/opt/scarfall"
#: A tenth each: `systemd-analyze security` calls less than 2.0 OK, and a usual service has 9.
EXPOSURE = 15


def _settings() -> dict[str, str]:
    """What the unit says, by name; of those that it says more than once, the last."""
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


SETTINGS = _settings()


@pytest.fixture
def analyze(tmp_path: Path) -> Callable[..., str]:
    """As if this clone were where the unit expects one."""

    def run(*arguments: str) -> str:
        if ANALYZE is None:
            pytest.skip("systemd-analyze is missing: apt-get install systemd")
        unit = tmp_path / UNIT.name
        unit.write_text(UNIT.read_text().replace(INSTALLED, str(ROOT)))
        done = subprocess.run(
            [ANALYZE, *arguments, unit], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    return run


def test_systemd_has_nothing_to_say(analyze: Callable[..., str]) -> None:
    assert analyze("verify", "--man=no") == ""


def test_it_has_few_rights(analyze: Callable[..., str]) -> None:
    analyze("security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}")


def test_it_is_given_what_it_reads_and_may_write_there() -> None:
    assert SETTINGS["EnvironmentFile"] == f"/etc/{ENVIRONMENT.name}"
    given = {name: value or "" for name, value in dotenv_values(ENVIRONMENT).items()}
    assert set(given) <= SERVICE_VARIABLES
    read = environment.read(given)
    assert read["DATA_DIR"] == Path("/var/lib") / SETTINGS["StateDirectory"]
    assert read["LOG_DIR"] == Path("/var/log") / SETTINGS["LogsDirectory"]
    assert int(SETTINGS["LimitNOFILE"]) >= 65536


def test_it_is_stopped_as_it_wants_to_be() -> None:
    """By one signal to the first process, which has its time."""
    assert SETTINGS["KillMode"] == "mixed"
    assert "KillSignal" not in SETTINGS  # SIGTERM
    assert int(SETTINGS["TimeoutStopSec"]) > child.STOP_SECONDS + 5


def test_it_has_started_when_it_is_ready(deployment: Deployment) -> None:
    """With an address of its own, too, and hosts of which this is none."""
    gateway = deployment._spawn("user", {"HOST": "127.0.0.2", "ALLOWED_HOSTS": "play.example.org"})
    gateway.process.send_signal(signal.SIGSTOP)
    with _asked_whether_it_has_started(gateway) as asking:
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(1)
        gateway.process.send_signal(signal.SIGCONT)
        assert asking.wait(START_SECONDS) == 0


def test_one_that_dies_before_it_is_ready_is_waited_for_no_longer(deployment: Deployment) -> None:
    """The command has to end before systemd starts anything again."""
    gateway = deployment._spawn("user", {})
    gateway.process.send_signal(signal.SIGSTOP)
    with _asked_whether_it_has_started(gateway) as asking:
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(1)
        gateway.process.kill()
        gateway.process.wait()
        assert asking.wait(START_SECONDS) != 0


@contextmanager
def _asked_whether_it_has_started(
    gateway: GatewayProcess,
) -> Iterator[subprocess.Popen[bytes]]:
    asking = subprocess.Popen(
        _words("ExecStartPost"),
        cwd=ROOT,
        env={**gateway.environment, "MAINPID": str(gateway.process.pid)},
        start_new_session=True,
    )
    try:
        yield asking
    finally:
        os.killpg(asking.pid, signal.SIGKILL) if asking.poll() is None else None


@pytest.mark.parametrize("certificate", ["", "/etc/ssl/scarfall.pem"])
def test_it_is_reloaded_where_there_is_a_certificate(certificate: str) -> None:
    """SIGHUP ends a service that has none."""
    with subprocess.Popen(["sleep", "60"]) as main:
        try:
            reload = subprocess.run(
                _words("ExecReload"),
                env={"MAINPID": str(main.pid), "TLS_CERT": certificate},
                check=False,
            )
            if certificate:
                assert reload.returncode == 0
                assert main.wait(10) == -signal.SIGHUP
            else:
                assert reload.returncode != 0
                assert main.poll() is None
        finally:
            main.kill()


def test_the_steps_to_install_it_are_the_units() -> None:
    steps = (ROOT / "docs/operations.md").read_text().partition("## Under systemd")[2]
    steps = steps.partition("\n## ")[0]
    for place in (INSTALLED, SETTINGS["EnvironmentFile"], f"nologin {SETTINGS['User']}\n"):
        assert place in steps
    for file in (UNIT, ENVIRONMENT):
        assert str(file.relative_to(ROOT)) in steps
    assert SETTINGS["WorkingDirectory"] == INSTALLED
    assert SETTINGS["ExecStart"] == f"{INSTALLED}/.venv/bin/python manage.py serve"


def _words(setting: str) -> list[str]:
    """Of a command, as systemd reads it, run with the Python of these tests."""
    words = shlex.split(SETTINGS[setting])
    return [word.replace("$$", "$").replace(".venv/bin/python", sys.executable) for word in words]
