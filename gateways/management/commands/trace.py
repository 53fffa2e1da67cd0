"""Follows one user at all nodes: each step as it happens, a line each."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from gateways.management import operators
from gateways.management.tables import visible
from gateways.protocol.events import timestamp
from gateways.trail import Report, Step
from scarfall import values


class Command(BaseCommand):
    help = (
        "Shows what happens to a user at all nodes, live: connects and ends, what friends are told,"
        " messages by their ids, refusals. Ctrl-C ends it."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--seconds", metavar="N", help="end by itself after so long")
        parser.add_argument("--json", action="store_true", help="a JSON object a line")

    def handle(
        self, *_args: Any, user: str, seconds: str | None, json: bool, **_options: Any
    ) -> None:
        user_id = operators.user_id(user)
        limit = None
        if seconds is not None:
            limit = operators.option("--seconds", seconds, values.seconds())
        with suppress(KeyboardInterrupt, BrokenPipeError):
            asyncio.run(self._follow(user_id, limit, json=json))

    async def _follow(self, user_id: str, limit: float | None, *, json: bool) -> None:
        with suppress(TimeoutError):
            async with (
                operators.gateway() as gateway,
                asyncio.timeout(limit),
                aclosing(gateway.tracing.follow(user_id)) as reports,
            ):
                async for report in reports:
                    for line in _json(report) if json else _lines(report):
                        self.stdout.write(line)
                    self.stdout.flush()


def _lines(report: Report) -> Iterator[str]:
    for step in report.steps:
        at = datetime.fromtimestamp(step.at_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
        yield f"{at}  {report.node}  {step.step:<13} {_details(step)}".rstrip()
    if report.dropped:
        yield f"{'':12}  {report.node}  and {report.dropped} more, which came too fast"


def _details(step: Step) -> str:
    return "  ".join(
        f"{name.removesuffix('_id')} {visible(str(value))}"
        for name, value in step.details.items()
        if value not in (None, "")
    )


def _json(report: Report) -> Iterator[str]:
    for step in report.steps:
        row = {
            "at": timestamp(step.at_ms),
            "node": step.node,
            "userId": step.user_id,
            "step": step.step,
            **{_camel(name): value for name, value in step.details.items()},
        }
        yield msgspec.json.encode(row).decode()
    if report.dropped:
        yield msgspec.json.encode({"node": report.node, "dropped": report.dropped}).decode()


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))
