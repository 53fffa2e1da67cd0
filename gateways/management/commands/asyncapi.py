"""Prints the protocol as an AsyncAPI document, for generators of clients and documentation."""

from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateways.consumers import description


class Command(BaseCommand):
    help = "Prints the protocol of both gateways as an AsyncAPI 3.0 document, in JSON."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", metavar="FILE", type=Path, help="write it there instead")

    def handle(self, *_args: Any, output: Path | None, **_options: Any) -> None:
        document = description.document(port=settings.PORT, internal_port=settings.INTERNAL_PORT)
        text = msgspec.json.format(msgspec.json.encode(document)).decode()
        if output is None:
            self.stdout.write(text)
            return
        try:
            output.write_text(text + "\n", "utf-8")
        except OSError as error:
            raise CommandError(f"--output: {error}") from None
