"""Ends sessions that should not be there, as each deployment does by itself now and then."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateways.management import operators
from gateways.management.tables import print_table
from gateways.protocol.events import timestamp
from scarfall import values

Line = tuple[str, str, str | None, str]


class Command(BaseCommand):
    help = (
        "Ends users' and services' sessions whose gateway process is gone, presence that no session"
        " holds up, and, with --idle, sessions that were idle for longer. Runs by itself every"
        " SESSION_CLEANUP_INTERVAL."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would end")
        parser.add_argument("--idle", metavar="SECONDS", help="end what was idle for longer, too")

    def handle(self, *_args: Any, dry_run: bool, idle: str | None, **_options: Any) -> None:
        idle_seconds = None
        if idle is not None:
            idle_seconds = operators.option("--idle", idle, values.seconds(zero=True))
        users, services = asyncio.run(_sweep(idle_seconds, dry_run=dry_run))
        for whose, findings in (("user", users), ("service", services)):
            if findings:
                columns = (whose, "session", "last activity", "would end" if dry_run else "ended")
                print_table(self.stdout, columns, findings)
        count = len(users) + len(services)
        found = "1 found" if count == 1 else f"{count} found"
        self.stdout.write(f"{found}, none ended: a dry run." if dry_run else f"{found} and ended.")


async def _sweep(idle_seconds: float | None, *, dry_run: bool) -> tuple[list[Line], list[Line]]:
    """What was found of users and of services."""
    async with operators.gateway() as gateway:
        users = [
            _line(finding.user_id, finding.session_id, finding.last_activity_ms, finding.reason)
            async for finding in gateway.sessions.sweep(idle_seconds=idle_seconds, dry_run=dry_run)
        ]
        services = [
            _line(
                finding.session.service_name,
                finding.session.session_id,
                finding.session.last_activity_ms,
                finding.reason,
            )
            for finding in await gateway.service_sessions.sweep(
                idle_seconds=idle_seconds, dry_run=dry_run
            )
        ]
        return users, services


def _line(whose: str, session_id: str, last_activity_ms: int | None, reason: str) -> Line:
    return whose, session_id, timestamp(last_activity_ms) if last_activity_ms else None, reason
