"""A load on a gateway, and what became of each message."""

import json
import resource
import secrets
import sys
from pathlib import Path
from typing import Any, Final

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from gateways.management import operators, tables
from gateways.management.loadtest import chart
from gateways.management.loadtest.player import CannotConnect
from gateways.management.loadtest.processes import Watched
from gateways.management.loadtest.report import Report
from gateways.management.loadtest.screen import live
from gateways.management.loadtest.swarm import Plan, Swarm

#: Open files beside the sockets: what Python and this command need.
SPARE_FILES: Final = 64


class Command(BaseCommand):
    help = (
        "Connects users to a running user gateway, sends messages among them, and says how fast"
        " they came, what it cost, and whether any was lost or doubled (exit code 1). Speaks"
        " Socket.IO where an address has /socket.io in it."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url",
            action="append",
            dest="urls",
            metavar="URL",
            help=f"default: ws://127.0.0.1:{settings.PORT}/ws; with several, users are spread over"
            " them in turn, and write to those at another one",
        )
        parser.add_argument("--users", type=int, default=200)
        parser.add_argument("--senders", type=int, default=50, help="that many of the users")
        parser.add_argument("--recipients", type=int, default=1, help="a message")
        parser.add_argument(
            "--window", type=int, default=4, help="messages of a sender that may be under way"
        )
        parser.add_argument(
            "--rate", type=float, help="instead: messages a second, by all senders together"
        )
        parser.add_argument("--seconds", type=float, default=10)
        parser.add_argument("--warmup", type=float, default=2, metavar="SECONDS")
        parser.add_argument("--bytes", type=int, default=100, help="the length of a message")
        parser.add_argument(
            "--connecting", type=int, default=50, help="users that connect at the same time"
        )
        parser.add_argument(
            "--prefix", default="", help="of the users' ids; default: one of this run's own"
        )
        parser.add_argument(
            "--watch",
            action="append",
            default=[],
            metavar="NAME=PID,…",
            help="processes of this machine whose CPU time and memory to report (Linux)",
        )
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument("--svg", type=Path, metavar="FILE", help="latency over time")

    def handle(self, *_args: Any, **options: Any) -> None:
        plan = _plan(options)
        watched = [_watched(typed) for typed in options["watch"]]
        _raise_limit(plan.users)
        swarm = Swarm(plan, operators.issue_token, watched)
        try:
            uvloop.run(_run(swarm))
        except CannotConnect as error:
            raise CommandError(f"{plan.urls[0]} took not all users: {error}") from None
        except FileNotFoundError as error:
            raise CommandError(f"A process to watch is not there: {error.filename}") from None
        except KeyboardInterrupt:
            sys.exit(130)
        report = Report.of(swarm)
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json()))
        else:
            tables.print_table(self.stdout, ("", "load test"), report.rows())
        if options["svg"]:
            options["svg"].write_text(_latency_chart(report))
        if not report.sound:
            sys.exit(1)


async def _run(swarm: Swarm) -> None:
    console = Console(stderr=True)
    async with live(swarm, console):
        await swarm.connect()
        console.print(f"{swarm.plan.users:,} users connected")
        await swarm.measure()
        swarm.leave()


def _plan(options: dict[str, Any]) -> Plan:
    urls = options["urls"] or [f"ws://127.0.0.1:{settings.PORT}/ws"]
    users, recipients = options["users"], options["recipients"]
    for name in ("users", "recipients", "window", "seconds", "connecting"):
        if options[name] <= 0:
            raise CommandError(f"--{name}: expected more than 0")
    if not 0 <= options["senders"] <= users:
        raise CommandError("--senders: expected at most as many as --users")
    if options["rate"] is not None and options["rate"] <= 0:
        raise CommandError("--rate: expected more than 0")
    if recipients > users - users // len(urls) * (len(urls) > 1):
        raise CommandError("--recipients: expected at most as many as there are to write to")
    return Plan(
        urls=urls,
        users=users,
        senders=options["senders"],
        recipients=recipients,
        window=options["window"],
        rate=options["rate"],
        seconds=options["seconds"],
        warmup_seconds=options["warmup"],
        message_bytes=options["bytes"],
        connecting=options["connecting"],
        prefix=options["prefix"] or f"load-{secrets.token_hex(3)}-",
    )


def _watched(typed: str) -> Watched:
    try:
        return Watched.parse(typed)
    except ValueError:
        raise CommandError(f"--watch: got {typed!r}; expected NAME=PID,PID…") from None


def _raise_limit(sockets: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sockets + SPARE_FILES
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise CommandError(
            f"This system lets a process have {hard} open files: too few for so many"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def _latency_chart(report: Report) -> str:
    series = {
        name: [(second + 1, value) for second, value in enumerate(values) if value is not None]
        for name, values in (("p50", report.delivery_p50_ms), ("p99", report.delivery_p99_ms))
    }
    return chart.lines("Sender to recipient", "seconds", "milliseconds", series)
