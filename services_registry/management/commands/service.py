"""Governs the platform's services from a shell, by the same functions as the admin."""

import getpass
import json
import os
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError, ProgrammingError

from services_registry import keys, selectors, services
from services_registry.errors import RegistryError
from services_registry.management.tables import print_table
from services_registry.models import Service
from services_registry.services import Actor

#: Of the audit trail, how much `show` shows.
SHOWN_EVENTS: Final = 20


class Command(BaseCommand):
    help = "Lists and governs the platform's services."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

        def action(
            run: Callable[..., None], word: str, summary: str, *, named: bool = True
        ) -> CommandParser:
            added: CommandParser = actions.add_parser(word, help=summary, description=summary)
            added.set_defaults(run=run)
            if named:
                added.add_argument("name", metavar="NAME")
            return added

        listing = action(self._list, "list", "Lists all services.", named=False)
        listing.add_argument("--json", action="store_true", help="a JSON array")

        show = action(self._show, "show", "Shows a service and what was done to it.")
        show.add_argument("--json", action="store_true", help="a JSON object")

        add = action(
            self._add,
            "add",
            "Adds a service, approved. Without --key-file it gets a key, printed this once.",
        )
        add.add_argument("--type", required=True, metavar="TYPE", dest="service_type")
        add.add_argument("--description", default="")
        add.add_argument(
            "--metadata", default="{}", metavar="JSON", help="an object, sent with its messages"
        )
        add.add_argument("--key-file", metavar="FILE", help="holds its key; - is standard input")

        for word, change, summary in (
            ("approve", services.approve, "Lets in a service that waits, or that was rejected."),
            ("reject", services.reject, "Refuses a service, and ends its sessions."),
            ("enable", services.enable, "Lets in a service that was disabled."),
            ("disable", services.disable, "Shuts a service out, and ends its sessions."),
            ("drop-previous-key", services.drop_previous_key, "Ends a rotation of keys."),
        ):
            action(self._change, word, summary).set_defaults(change=change)

        action(
            self._rotate_key,
            "rotate-key",
            "Gives a service another key, printed this once; the one before stays good until"
            " drop-previous-key.",
        )

        delete = action(self._delete, "delete", "Deletes a service, and ends its sessions.")
        delete.add_argument("--yes", action="store_true", help="really")

    def handle(self, *_args: Any, run: Callable[..., None], **options: Any) -> None:
        try:
            run(**options)
        except RegistryError as error:
            raise CommandError(str(error)) from None
        except (OperationalError, ProgrammingError) as error:
            reason = str(error).splitlines()[0]
            unmade = "no such table" in reason or isinstance(error, ProgrammingError)
            hint = " (manage.py migrate makes the tables)" if unmade else ""
            raise CommandError(f"DATABASE_URL: {reason}{hint}") from None

    def _list(self, *, json: bool, **_options: Any) -> None:
        found = selectors.all_services()
        if json:
            self._write_json([selectors.as_dict(service) for service in found])
            return
        if found:
            print_table(
                self.stdout,
                ("name", "type", "state", "origin", "last authenticated", "description"),
                [
                    (
                        service.name,
                        service.type,
                        _state(service),
                        service.origin,
                        _time(service.last_authenticated_at),
                        service.description,
                    )
                    for service in found
                ],
            )
        self.stdout.write(f"{len(found)} service{'' if len(found) == 1 else 's'}.")

    def _show(self, *, name: str, json: bool, **_options: Any) -> None:
        service = selectors.get(name)
        events = selectors.events(name, SHOWN_EVENTS)
        if json:
            self._write_json(
                {
                    **selectors.as_dict(service),
                    "approved": service.approved_at,
                    "approvedBy": service.approved_by and service.approved_by.get_username(),
                    "keys": len(service.key_hashes),
                    "events": [
                        {
                            "at": event.at,
                            "kind": event.kind,
                            "actor": event.actor,
                            "address": event.address,
                            "detail": event.detail,
                        }
                        for event in events
                    ],
                }
            )
            return
        print_table(
            self.stdout,
            (),
            [
                ("name", service.name),
                ("type", service.type),
                ("state", _state(service)),
                ("origin", service.origin),
                ("description", service.description),
                ("metadata", _compact(service.metadata)),
                ("keys", "two, while a rotation lasts" if service.previous_key_hash else "one"),
                ("created", _time(service.created_at)),
                ("approved", _time(service.approved_at)),
                ("last authenticated", _time(service.last_authenticated_at)),
            ],
        )
        print_table(
            self.stdout,
            ("when", "what", "who", "from", "detail"),
            [
                (_time(event.at), event.kind, event.actor, event.address, event.detail)
                for event in events
            ],
        )

    def _add(
        self,
        *,
        name: str,
        service_type: str,
        description: str,
        metadata: str,
        key_file: str | None,
        **_options: Any,
    ) -> None:
        key = keys.generate() if key_file is None else _key_from(key_file)
        service = services.register(
            name,
            key,
            service_type=service_type,
            description=description,
            metadata=_metadata(metadata),
            origin=Service.Origin.OPERATOR,
            actor=_actor(),
        )
        if key_file is None:
            self._write_key(service.name, key)
        else:
            self.stdout.write(f"{name}: added.")

    def _change(self, *, name: str, change: Callable[..., Service], **_options: Any) -> None:
        self.stdout.write(f"{name}: {_state(change(name, _actor()))}.")

    def _rotate_key(self, *, name: str, **_options: Any) -> None:
        self._write_key(name, services.rotate_key(name, _actor()))

    def _delete(self, *, name: str, yes: bool, **_options: Any) -> None:
        selectors.get(name)
        if not yes:
            raise CommandError(f"This deletes {name} and ends its sessions; --yes does it.")
        services.delete(name, _actor())
        self.stdout.write(f"{name}: deleted.")

    def _write_key(self, name: str, key: str) -> None:
        """The key alone on standard output, for whatever takes it from there."""
        self.stdout.write(key)
        self.stderr.write(f"The key of {name}, shown this once: only its hash is kept.")

    def _write_json(self, value: object) -> None:
        self.stdout.write(json.dumps(value, cls=DjangoJSONEncoder, indent=2))


def _actor() -> Actor:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        user = str(os.getuid())
    return Actor(f"{user} (manage.py)", socket.gethostname())


def _key_from(file: str) -> str:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise CommandError(f"--key-file: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"--key-file: {file}: expected UTF-8 text") from None
    return text.rstrip("\r\n")


def _metadata(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise CommandError("--metadata: expected a JSON object") from None


def _state(service: Service) -> str:
    """What keeps it out; where nothing does, `enabled`."""
    kept_out_by = [
        *([] if service.enabled else ["disabled"]),
        *([] if service.approval == Service.Approval.APPROVED else [str(service.approval)]),
    ]
    return ", ".join(kept_out_by) or "enabled"


def _time(at: datetime | None) -> str:
    return at.isoformat(" ", "seconds") if at else ""


def _compact(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, ensure_ascii=False) if metadata else ""
