"""The audit trail. Nobody edits it, operators neither."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from services_registry.models import ServiceEvent

FIELDS = ("at", "kind", "actor", "address", "detail")


class ReadOnly:
    """For whoever may view services."""

    def has_view_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        return request.user.has_perm("services_registry.view_service")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False


class AuditInline(ReadOnly, TabularInline):
    """A service's own trail, on its page, the latest first."""

    model = ServiceEvent
    verbose_name_plural = "Audit trail"
    fields = readonly_fields = FIELDS
    per_page = 20
    hide_title = True
    can_delete = False


@admin.register(ServiceEvent)
class AuditAdmin(ReadOnly, ModelAdmin):
    """Everybody's, also of services that are gone."""

    list_display = ("at", "service_name", *FIELDS[1:])
    list_display_links = None
    list_filter = ("kind", ("at", admin.DateFieldListFilter))
    search_fields = ("service_name", "actor", "address")
    search_help_text = "Service, who, or from where"
    list_per_page = 50
    actions = None
