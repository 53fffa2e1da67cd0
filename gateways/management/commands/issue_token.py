"""Prints a token, as the platform's API would issue it."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from gateways.management import operators
from scarfall import values


class Command(BaseCommand):
    help = "Prints a JWT for a user, signed with JWT_SECRET."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--email")
        parser.add_argument("--scope", default="", help="space-separated")
        parser.add_argument(
            "--expires",
            metavar="DURATION",
            help=f"as in 30m, 24h or 7d; JWT_EXPIRATION is {settings.JWT_EXPIRATION}",
        )

    def handle(
        self,
        *_args: Any,
        user: str,
        email: str | None,
        scope: str,
        expires: str | None,
        **_options: Any,
    ) -> None:
        lifetime = expires and operators.option("--expires", expires, values.duration)
        self.stdout.write(
            operators.issue_token(
                operators.user_id(user), lifetime=lifetime or None, email=email, scope=scope
            )
        )
