"""Lists who is connected, from where, since when."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from gateways.domain.sessions import UserSessions
from gateways.management import operators
from gateways.management.tables import print_table
from gateways.protocol.events import timestamp


class Row(msgspec.Struct, frozen=True, rename="camel"):
    user_id: str
    session_id: str
    node: str
    device_id: str | None
    device_info: Any
    connected_at: str
    last_activity: str


class ServiceRow(msgspec.Struct, frozen=True, rename="camel"):
    service_name: str
    session_id: str
    node: str
    address: str
    connected_at: str
    last_activity: str


class Command(BaseCommand):
    help = "Lists all users' sessions of a deployment, or one user's, or the services'."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--user", metavar="USER", help="only this user's")
        whose.add_argument("--services", action="store_true", help="the services' instead")
        parser.add_argument("--json", action="store_true", help="a JSON array")

    def handle(
        self, *_args: Any, user: str | None, services: bool, json: bool, **_options: Any
    ) -> None:
        rows: Sequence[Row | ServiceRow]
        if services:
            rows = asyncio.run(_service_rows())
        else:
            rows = asyncio.run(_rows(None if user is None else operators.user_id(user)))
        if json:
            self.stdout.write(msgspec.json.format(msgspec.json.encode(rows)).decode())
            return
        if rows:
            whose, origin = ("service", "address") if services else ("user", "device")
            columns = (whose, "session", origin, "connected", "last activity")
            print_table(self.stdout, columns, map(_cells, rows))
        owners = len({_owner(row) for row in rows})
        of_whom = _count(owners, "service" if services else "user")
        self.stdout.write(f"{_count(len(rows), 'session')} of {of_whom}.")


async def _rows(user_id: str | None) -> Sequence[Row]:
    async with operators.gateway() as gateway:
        if user_id is not None:
            return _rows_of(UserSessions(user_id, await gateway.sessions.of_user(user_id)))
        # A user who comes or goes meanwhile may come twice.
        rows = {
            row.session_id: row
            async for user in gateway.sessions.everybody()
            for row in _rows_of(user)
        }
        return sorted(rows.values(), key=lambda row: (row.user_id, row.connected_at))


def _rows_of(user: UserSessions) -> list[Row]:
    return [
        Row(
            user_id=user.user_id,
            session_id=session.session_id,
            node=session.node_id,
            device_id=session.record.device_id,
            device_info=session.record.device_info,
            connected_at=timestamp(session.record.connected_at_ms),
            last_activity=timestamp(session.last_activity_ms),
        )
        for session in user.sessions
    ]


async def _service_rows() -> Sequence[ServiceRow]:
    async with operators.gateway() as gateway:
        return [
            ServiceRow(
                service_name=session.service_name,
                session_id=session.session_id,
                node=session.node_id,
                address=session.address,
                connected_at=timestamp(session.connected_at_ms),
                last_activity=timestamp(session.last_activity_ms),
            )
            for session in sorted(
                await gateway.service_sessions.all(), key=lambda session: session.service_name
            )
        ]


def _owner(row: Row | ServiceRow) -> str:
    return row.user_id if isinstance(row, Row) else row.service_name


def _cells(row: Row | ServiceRow) -> Sequence[str]:
    origin = _device(row) if isinstance(row, Row) else row.address
    return _owner(row), row.session_id, origin, row.connected_at, row.last_activity


def _device(row: Row) -> str:
    info = row.device_info
    shown = info if isinstance(info, str) else info and msgspec.json.encode(info).decode()
    return " ".join(part for part in (row.device_id, shown) if part)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
