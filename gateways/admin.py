"""The live sessions, of users and of services, for operators to look at and to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import structlog
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.timesince import timesince
from msgspec import UNSET
from unfold.admin import ModelAdmin

from gateways.gateway import Gateway
from gateways.models import LiveSession
from gateways.protocol.errors import InvalidPayload
from gateways.protocol.events import OnlineUsers, Page
from gateways.store.records import StoredSession
from gateways.store.service_sessions import StoredServiceSession
from services_registry.admin.gateways import Unknown, ask

log = structlog.get_logger(__name__)

PAGE = 50
REASON = "An operator ended the session."


@dataclass(frozen=True, slots=True)
class Row:
    """A session as the page shows it."""

    whose: str
    session_id: str
    about: str
    node: str
    connected: str
    last_activity: str
    disconnect: str


@admin.register(LiveSession)
class LiveSessionAdmin(ModelAdmin):
    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("gateways.disconnect_livesession")

    def get_urls(self) -> list[URLPattern]:
        """There is nothing to add, to change or to delete here."""
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="gateways_livesession_changelist"),
            path("disconnect/", view(self.disconnect), name="gateways_livesession_disconnect"),
        ]

    def changelist_view(self, request: HttpRequest, _extra_context: Any = None) -> HttpResponse:
        """`q`: part of a service's name, or a user's id; `cursor`: a page of everybody online."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        wanted = request.GET.get("q", "").strip()
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Live sessions",
            "wanted": wanted,
            "may_disconnect": self.has_disconnect_permission(request),
            "refresh": request.get_full_path(),
        }
        try:
            services, sessions, online = ask(
                request, lambda gateway: _look(gateway, wanted, request.GET.get("cursor"))
            )
        except Unknown as error:
            context["unknown"] = error
        else:
            context |= {
                "services": [_service_row(session) for session in services],
                "users": [_user_row(wanted, session) for session in sessions],
                "online": online,
            }
            if online is not None and online.next_cursor is not UNSET:
                context["more"] = f"?{urlencode({'cursor': online.next_cursor})}"
        return TemplateResponse(request, "gateways/live_sessions.html", context)

    def disconnect(self, request: HttpRequest) -> HttpResponse:
        """GET asks, POST does. `session` of the service or user `whose`, who is a `kind`; without
        `session`, all of a user's.
        """
        if not (self.has_view_permission(request) and self.has_disconnect_permission(request)):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        kind, whose, session_id = (given.get(name, "") for name in ("kind", "whose", "session"))
        if not whose or not (kind == "user" or (kind == "service" and session_id)):
            return HttpResponseBadRequest("expected kind, whose, session")
        back = f"{reverse('admin:gateways_livesession_changelist')}?{urlencode({'q': whose})}"
        if request.method != "POST":
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": "Disconnect?",
                "kind": kind,
                "whose": whose,
                "session_id": session_id,
                "back": back,
            }
            return TemplateResponse(request, "gateways/disconnect.html", context)
        try:
            ended = ask(request, lambda gateway: _end(gateway, kind, whose, session_id))
        except Unknown as error:
            messages.error(request, f"Whether it ended is unknown: {error}. Try again.")
        else:
            log.info(
                "operator disconnected",
                operator=request.user.get_username(),
                kind=kind,
                whose=whose,
                session=session_id or "all",
                ended=ended,
            )
            messages.success(request, f"Sessions of {whose} that were ended: {ended}.")
        return HttpResponseRedirect(back)


async def _look(
    gateway: Gateway, wanted: str, cursor: str | None
) -> tuple[Sequence[StoredServiceSession], Sequence[StoredSession], OnlineUsers | None]:
    services = [
        each for each in await gateway.service_sessions.all() if wanted in each.service_name
    ]
    if wanted:
        return services, await gateway.sessions.of_user(wanted), None
    try:
        online = await gateway.directory.online(Page(cursor=cursor, limit=PAGE))
    except InvalidPayload:  # somebody's own cursor
        online = await gateway.directory.online(Page(limit=PAGE))
    return services, [], online


async def _end(gateway: Gateway, kind: str, whose: str, session_id: str) -> int:
    if kind == "service":
        return int(await gateway.service_sessions.disconnect(session_id, REASON))
    return await gateway.sessions.disconnect(whose, session_id or None, REASON)


def _service_row(session: StoredServiceSession) -> Row:
    return Row(
        whose=session.service_name,
        session_id=session.session_id,
        about=session.address,
        node=session.node_id,
        connected=_ago(session.connected_at_ms),
        last_activity=_ago(session.last_activity_ms),
        disconnect=_disconnect("service", session.service_name, session.session_id),
    )


def _user_row(user_id: str, session: StoredSession) -> Row:
    return Row(
        whose=user_id,
        session_id=session.session_id,
        about=session.record.device_id or "",
        node=session.node_id,
        connected=_ago(session.record.connected_at_ms),
        last_activity=_ago(session.last_activity_ms),
        disconnect=_disconnect("user", user_id, session.session_id),
    )


def _disconnect(kind: str, whose: str, session_id: str) -> str:
    asked = urlencode({"kind": kind, "whose": whose, "session": session_id})
    return f"{reverse('admin:gateways_livesession_disconnect')}?{asked}"


def _ago(milliseconds: int) -> str:
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    recent = datetime.now(UTC) - when < timedelta(minutes=1)
    return "just now" if recent else f"{timesince(when)} ago"
