"""Ends sessions that should not be there, as each deployment does by itself now and then."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateways.domain.sessions import Finding
from gateways.management import operators
from gateways.management.tables import print_table
from gateways.protocol.events import timestamp
from scarfall import values


class Command(BaseCommand):
    help = (
        "Ends sessions whose gateway process is gone, presence that no session holds up, and, with"
        " --idle, sessions that were idle for longer. Runs by itself every"
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
        findings = asyncio.run(_sweep(idle_seconds, dry_run=dry_run))
        if findings:
            print_table(
                self.stdout,
                ("user", "session", "last activity", "would end" if dry_run else "ended"),
                [
                    (
                        finding.user_id,
                        finding.session_id,
                        timestamp(finding.last_activity_ms) if finding.last_activity_ms else None,
                        finding.reason,
                    )
                    for finding in findings
                ],
            )
        found = "1 found" if len(findings) == 1 else f"{len(findings)} found"
        self.stdout.write(f"{found}, none ended: a dry run." if dry_run else f"{found} and ended.")


async def _sweep(idle_seconds: float | None, *, dry_run: bool) -> list[Finding]:
    async with operators.gateway() as gateway:
        return [
            finding
            async for finding in gateway.sessions.sweep(idle_seconds=idle_seconds, dry_run=dry_run)
        ]
