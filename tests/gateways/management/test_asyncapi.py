import json
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management.base import CommandError

from gateways.consumers import description
from tests.gateways.management.conftest import Command


def test_it_prints_the_document(command: Command) -> None:
    printed = command("asyncapi")
    assert json.loads(printed) == description.document(
        port=settings.PORT, internal_port=settings.INTERNAL_PORT
    )
    assert printed.startswith('{\n  "asyncapi": "3.0.0",\n')


def test_it_writes_it_into_a_file(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "asyncapi.json"
    assert command("asyncapi", "--output", str(file)) == ""
    assert file.read_text() == command("asyncapi")


def test_what_can_not_be_written_is_said(command: Command, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"--output: .*No such file or directory"):
        command("asyncapi", "--output", str(tmp_path / "none" / "asyncapi.json"))
