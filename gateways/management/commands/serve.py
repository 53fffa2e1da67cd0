"""Serves the gateways, with everything they need, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import sys
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, connection

from gateways.management import migration
from scarfall import supervisor
from scarfall.checks import TAG
from scarfall.embedded import CannotStart
from services_registry import environment
from services_registry.errors import InvalidService

MANAGE: Final = ".venv/bin/python manage.py"


class Command(BaseCommand):
    help = "Serves the user gateway, the internal one, or both; Ctrl-C or SIGTERM ends all of it."
    # Checks would import every URL and admin page; the gateways do that.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "gateway", nargs="?", choices=("user", "internal", "all"), default="all"
        )

    def handle(self, *_args: Any, gateway: str, **_options: Any) -> None:
        gateways = ("user", "internal") if gateway == "all" else (gateway,)
        try:
            supervisor.serve(gateways, self._prepare, lambda: self._print_banner(gateways))
        except CannotStart as error:
            sys.exit(str(error))

    def _prepare(self) -> None:
        """The database as this version and the environment want it."""
        try:
            migration.migrate()
            environment.synchronise()
            found = run_checks(tags=[TAG], include_deployment_checks=True)
            self._warnings = [warning for warning in found if not warning.is_silenced()]
            self._has_operator = get_user_model().objects.filter(is_staff=True).exists()
        except InvalidService as error:
            raise CannotStart(f"CUSTOM_SERVICES: {error}") from None
        except (OperationalError, OSError) as error:  # the latter: no directory to be alone in
            reason = " ".join(str(error).split())
            raise CannotStart(f"DATABASE_URL: the database does not answer: {reason}") from None
        finally:
            connection.close()

    def _print_banner(self, gateways: tuple[str, ...]) -> None:
        addresses = {
            "user": _address(settings.HOST, settings.PORT),
            "internal": _address(settings.INTERNAL_HOST, settings.INTERNAL_PORT),
        }
        for gateway in gateways:
            scheme = "wss" if gateway == "user" and settings.TLS_CERT is not None else "ws"
            self._print(f"{gateway.title()} gateway", f"{scheme}://{addresses[gateway]}/ws")
        if "internal" in gateways:
            self._print("Admin", f"http://{addresses['internal']}/admin/")
            if not self._has_operator:
                self._print("", f"nobody may enter yet: {MANAGE} createsuperuser")
        if settings.ENABLE_EXAMPLES:
            pages = [f"http://{addresses[gateway]}/" for gateway in gateways]
            self._print("Example pages", "   ".join(pages))
        store = "embedded Valkey" if settings.REDIS_EMBEDDED else "REDIS_URL or REDIS_HOST"
        self._print("State", f"{settings.DATA_DIR}   (store: {store})")
        self._print("Logs", f"{settings.LOG_DIR}")
        self._print("Next", f"{MANAGE} chat alice --friends bob")
        for warning in self._warnings:
            self._print("Warning", f"{warning.msg}   {warning.hint} ({warning.id})")
        self.stdout.flush()

    def _print(self, label: str, text: str) -> None:
        self.stdout.write(f"{label:18}{text}")


def _address(host: str, port: int) -> str:
    """As a browser on this machine would type it."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    return f"{shown}:{port}"
