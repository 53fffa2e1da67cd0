"""A Prometheus of the tests' own, with the shipped configuration."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateways import ROOT, listening_port

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
SHIPPED = ROOT / "deploy" / "prometheus"


class Prometheus:
    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What it is now. Raises AssertionError with what is wrong with the expression."""
        try:
            data = self.get(f"/api/v1/query?query={urllib.parse.quote(expression)}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
        result: list[dict[str, Any]] = data["result"]
        return result


@contextmanager
def running_prometheus(directory: Path, gateway_port: int) -> Iterator[Prometheus]:
    if PROMETHEUS is None:
        pytest.skip("Prometheus is missing: apt-get install prometheus")
    configuration = (SHIPPED / "prometheus.yml").read_text()
    for there, here in {
        '"gateway-1:4000", "gateway-2:4000"': f'"127.0.0.1:{gateway_port}"',
        "scrape_interval: 15s": "scrape_interval: 1s",
    }.items():
        assert there in configuration
        configuration = configuration.replace(there, here)
    (directory / "prometheus.yml").write_text(configuration)
    shutil.copy(SHIPPED / "alerts.yml", directory)
    prometheus = Prometheus(listening_port())
    log = directory / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{prometheus.port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                prometheus.get("/api/v1/status/runtimeinfo")
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield prometheus
    finally:
        process.terminate()
        process.wait(10)
