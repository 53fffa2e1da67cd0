"""Services: the list, a service's page, and the way to every decision about one."""

import re
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import formats, timezone
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from services_registry import keys, services
from services_registry.admin import decisions
from services_registry.admin.audit import AuditInline
from services_registry.admin.decisions import Decision, actor
from services_registry.admin.forms import NewServiceForm, ServiceForm
from services_registry.admin.gateways import live_sessions
from services_registry.errors import RegistryError
from services_registry.models import Service

#: What a list may not be filtered by: whoever views it could read them out, a character at a time.
SECRETS = {"key_hash", "previous_key_hash", "environment_digest", "environment_key_hash"}
STATES = {"pending": "warning", "enabled": "success", "disabled": "danger", "rejected": "danger"}


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in STATES]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Service]) -> QuerySet[Service]:
        match self.value():
            case "enabled" | "disabled" as state:
                return queryset.filter(
                    approval=Service.Approval.APPROVED, enabled=state == "enabled"
                )
            case "pending" | "rejected" as approval:
                return queryset.filter(approval=approval)
            case _:
                return queryset


@admin.register(Service)
class ServiceAdmin(ModelAdmin):
    list_display = ("name", "state", "type", "sessions", "last_seen", "origin", "created_at")
    list_filter = (StateFilter, ("type", admin.AllValuesFieldListFilter), "origin")
    search_fields = ("name", "type", "description")
    list_per_page = 50
    actions_row = ("approve", "reject", "enable", "disable", "delete_one")
    # One by one: unfold's drop-downs can't be opened by keyboard.
    actions_detail = (
        *("approve", "reject", "enable", "disable"),
        *("rotate_key", "drop_previous_key", "replace_key"),
    )
    inlines = (AuditInline,)
    fieldsets = (
        (None, {"fields": ("name", "state", "type", "description", "metadata")}),
        (
            "Sessions and key",
            {"fields": (("sessions", "last_seen"), ("good_keys", "origin"))},
        ),
        ("History", {"fields": (("created_at", "approved_at", "approved_by"),)}),
    )
    add_fieldsets = ((None, {"fields": ("name", "type", "description", "metadata", "key")}),)
    readonly_fields = (
        *("name", "state", "sessions", "last_seen", "good_keys", "origin", "created_at"),
        *("approved_at", "approved_by"),
    )

    # --- permissions: to view, to change and to approve are three ---------------------------------

    def has_approve_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        return request.user.has_perm("services_registry.approve_service")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        if lookup.partition("__")[0] in SECRETS:
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    # --- what is shown ----------------------------------------------------------------------------

    @display(description="State", label=STATES, ordering="approval")
    def state(self, service: Service) -> str:
        return service.state

    @display(description="Live sessions")
    def sessions(self, service: Service) -> str:
        count: int | None = getattr(service, "live_sessions", None)
        return "unknown" if count is None else str(count)

    @display(description="Last seen", ordering="last_authenticated_at", empty_value="never")
    def last_seen(self, service: Service) -> str | None:
        seen = service.last_authenticated_at
        return formats.localize(timezone.localtime(seen)) if seen else None

    @display(description="Good keys")
    def good_keys(self, service: Service) -> str:
        return "two, until the previous one is dropped" if service.previous_key_hash else "one"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        counts = live_sessions(request)
        changelist.result_list = list(changelist.result_list)
        for service in changelist.result_list:
            service.live_sessions = None if counts is None else counts.get(service.name, 0)
        return changelist

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Service | None:
        service: Any = super().get_object(request, *args, **kwargs)
        if service is not None and request.method == "GET":
            counts = live_sessions(request)
            service.live_sessions = None if counts is None else counts.get(service.name, 0)
        return service  # type: ignore[no-any-return]

    # --- adding, editing, deleting ----------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **_kwargs: Any
    ) -> type[ServiceForm]:
        form = super().get_form(
            request, obj, change, form=ServiceForm if change else NewServiceForm
        )
        form.refusal = getattr(request, "refusal", "")
        return form  # type: ignore[no-any-return]

    def get_readonly_fields(self, _request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.readonly_fields if obj else ()

    def get_inlines(self, _request: HttpRequest, obj: Any) -> tuple[Any, ...]:
        return self.inlines if obj else ()

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except RegistryError as error:
            # Nothing was done. The form again, with what was typed and why it can't be.
            request.refusal = str(error)  # type: ignore[attr-defined]
            return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Service, form: Any, change: Any) -> None:
        fields = {
            "service_type": obj.type,
            "description": obj.description,
            "metadata": obj.metadata,
        }
        if change:
            services.edit(obj.name, actor(request), **fields)
            return
        given = form.cleaned_data["key"]
        key = given or keys.generate()
        origin = Service.Origin.OPERATOR
        service = services.register(obj.name, key, **fields, origin=origin, actor=actor(request))
        obj.pk = service.pk
        obj.new_key = None if given else key  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: Any = None
    ) -> HttpResponse:
        answer: HttpResponse = super().response_add(request, obj, post_url_continue)
        if obj.new_key is None:
            return answer
        return decisions.show_key(request, self, obj, obj.new_key)

    def delete_model(self, request: HttpRequest, obj: Service) -> None:
        services.delete(obj.name, actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Service]) -> None:
        for service in queryset:
            self.delete_model(request, service)

    # --- decisions --------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        decide = self.admin_site.admin_view(self.decide)
        return [
            path("decide/<slug:name>/", decide, name="services_registry_decide"),
            *super().get_urls(),
        ]

    def decide(self, request: HttpRequest, name: str) -> HttpResponse:
        """GET asks, POST does; `service` is each service's primary key, and a POST's query what was
        seen of it.
        """
        decision = decisions.ALL.get(name)
        if decision is None:
            raise Http404
        if not self._may(request, decision):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        wanted = [pk for pk in given.getlist("service") if re.fullmatch(r"[0-9]{1,18}", pk)]
        chosen = list(Service.objects.filter(pk__in=wanted))
        if request.method == "POST":
            return decisions.carry_out(request, self, decision, chosen)
        return decisions.ask(request, self, decision, chosen)

    def _may(self, request: HttpRequest, decision: Decision) -> bool:
        # Whom the list is not shown to does not get at it by this way either.
        may = getattr(self, f"has_{decision.permission}_permission")
        return self.has_view_permission(request) and bool(may(request))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """For many at once. The question comes first."""
        offered: dict[str, Any] = {
            decision.name: (_asking(decision), decision.name, decision.title)
            for decision in decisions.OF_STATE
            if self._may(request, decision)
        }
        return {**offered, **super().get_actions(request)}

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Those that there is anything to decide about."""
        service = get_object_or_404(Service, pk=object_id)
        return [
            offered
            for offered in super().get_actions_detail(request, object_id)
            if decisions.ALL[offered.path.replace("_", "-")].fits(service)
        ]

    @action(description="Approve", permissions=["approve"])
    def approve(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return _to(decisions.APPROVE, object_id)

    @action(description="Reject", permissions=["approve"])
    def reject(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return _to(decisions.REJECT, object_id)

    @action(description="Enable", permissions=["change"])
    def enable(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return _to(decisions.ENABLE, object_id)

    @action(description="Disable", permissions=["change"])
    def disable(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return _to(decisions.DISABLE, object_id)

    @action(description="Rotate key", permissions=["change"])
    def rotate_key(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return _to(decisions.ROTATE_KEY, object_id)

    @action(description="Drop previous key", permissions=["change"])
    def drop_previous_key(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return _to(decisions.DROP_KEY, object_id)

    @action(description="Replace key", permissions=["change"])
    def replace_key(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return _to(decisions.REPLACE_KEY, object_id)

    @action(description="Delete", permissions=["delete"])
    def delete_one(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(
            reverse("admin:services_registry_service_delete", args=[object_id])
        )


def _asking(decision: Decision) -> Callable[..., HttpResponse]:
    def action(
        model_admin: ServiceAdmin, request: HttpRequest, queryset: QuerySet[Service]
    ) -> HttpResponse:
        return decisions.ask(request, model_admin, decision, list(queryset))

    return action


def _to(decision: Decision, object_id: str) -> HttpResponse:
    address = reverse("admin:services_registry_decide", args=[decision.name])
    return HttpResponseRedirect(f"{address}?service={object_id}")
