"""How the admin looks, and its menu. Settings: UNFOLD."""

from typing import Any, Final

from django.apps import apps
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

#: By group: title, icon, model.
MENU: Final = {
    "Platform": (
        ("Services", "hub", "services_registry.service"),
        ("Live sessions", "sensors", "gateways.livesession"),
        ("Audit trail", "history", "services_registry.serviceevent"),
    ),
    "Operators": (
        ("Operators", "person", "auth.user"),
        ("Groups", "group", "auth.group"),
    ),
}


def menu(request: HttpRequest) -> list[dict[str, Any]]:
    """What this operator may see."""
    # Settings, where this module is named, are read before there are models.
    from django.contrib import admin  # noqa: PLC0415

    from services_registry import selectors  # noqa: PLC0415

    groups = []
    for title, items in MENU.items():
        shown = [
            {"title": words, "icon": icon, "link": reverse(_address(model))}
            for words, icon, model in items
            if admin.site.get_model_admin(apps.get_model(model)).has_view_permission(request)
        ]
        for item in shown:
            if item["title"] == "Services" and (pending := selectors.pending_count()):
                item |= {"badge": str(pending), "badge_variant": "warning", "badge_style": "solid"}
        if shown:
            groups.append({"title": title, "items": shown})
    return groups


def _address(model: str) -> str:
    return f"admin:{model.replace('.', '_')}_changelist"


def without_inline_theme(_request: HttpRequest) -> dict[str, Any]:
    """For each page's context: the colours come from `theme`, not from a <style> that a policy
    without 'unsafe-inline' refuses.
    """
    return {"colors": None}


@require_safe
@cache_control(max_age=3600, public=True)
def theme(_request: HttpRequest) -> HttpResponse:
    """The style sheet of the admin's colours, as UNFOLD has them, and htmx's own few rules."""
    from unfold.settings import get_config  # noqa: PLC0415

    config = get_config()
    variables = {"border-radius": config["BORDER_RADIUS"]} | {
        f"color-{name}-{weight}": value
        for name, weights in config["COLORS"].items()
        for weight, value in weights.items()
    }
    lines = [f"  --{name}: {value};" for name, value in variables.items()]
    indicator = (
        ".htmx-indicator { opacity: 0; transition: opacity 200ms ease-in }\n"
        ".htmx-request .htmx-indicator, .htmx-request.htmx-indicator { opacity: 1 }\n"
    )
    css = "\n".join([":root {", *lines, "}", indicator])
    return HttpResponse(css, content_type="text/css; charset=utf-8")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Scarfall",
    "SITE_HEADER": "Scarfall gateway",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("icon.svg")}
    ],
    "SHOW_VIEW_ON_SITE": False,
    # The audit trail on each service's page says more.
    "SHOW_HISTORY": False,
    "SIDEBAR": {"navigation": "scarfall.admin_site.menu"},
    "LOGIN": {"form": "scarfall.admin_login.LoginForm"},
    "STYLES": [lambda _request: reverse("admin-theme")],
    "SCRIPTS": [
        lambda _request: static("services_registry/policy.js"),
        lambda _request: static("services_registry/expressions.js"),
        lambda _request: static("services_registry/admin.js"),
    ],
    "GLOBAL_CALLBACK": "scarfall.admin_site.without_inline_theme",
    "BORDER_RADIUS": "8px",
    "COLORS": {
        # The orange of the example pages.
        "primary": {
            "50": "oklch(98% 0.016 60)",
            "100": "oklch(95% 0.04 60)",
            "200": "oklch(90% 0.08 55)",
            "300": "oklch(83% 0.12 50)",
            "400": "oklch(75% 0.16 45)",
            "500": "oklch(68% 0.18 43)",
            "600": "oklch(55% 0.17 40)",
            "700": "oklch(48% 0.15 39)",
            "800": "oklch(41% 0.12 38)",
            "900": "oklch(36% 0.1 37)",
            "950": "oklch(24% 0.07 36)",
        },
    },
}
