"""What operators decide about services. Each decision is asked about first, and carried out by a
POST; whether for one service or for many.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

from services_registry import keys, services
from services_registry.errors import RegistryError
from services_registry.models import Service
from services_registry.services import Actor

Approval = Service.Approval


@dataclass(frozen=True, slots=True)
class Decision:
    #: As it stands in URLs.
    name: str
    title: str
    #: What it brings about.
    means: str
    #: What became of a service: "was approved".
    done: str
    #: Of the registry's permissions: "approve" or "change".
    permission: str
    #: Whether there is anything to decide.
    fits: Callable[[Service], bool]
    #: Takes what was seen of it; returns a new key where there is one. Raises RegistryError.
    carry_out: Callable[[Service, Actor, str], str | None]
    danger: bool = False


def _by(change: Callable[..., Service]) -> Callable[[Service, Actor, str], None]:
    def carry_out(service: Service, actor: Actor, seen: str) -> None:
        change(service.name, actor, seen=seen)

    return carry_out


def _rotate(service: Service, actor: Actor, seen: str) -> str:
    return services.rotate_key(service.name, actor, seen=seen)


def _replace(service: Service, actor: Actor, seen: str) -> str:
    key = keys.generate()
    services.replace_key(service.name, key, actor, seen=seen)
    return key


APPROVE: Final = Decision(
    "approve",
    "Approve",
    "It is let in at its next try.",
    "was approved",
    "approve",
    lambda service: service.approval != Approval.APPROVED,
    _by(services.approve),
)
REJECT: Final = Decision(
    "reject",
    "Reject",
    "Its sessions end everywhere, and it is let in no more.",
    "was rejected",
    "approve",
    lambda service: service.approval != Approval.REJECTED,
    _by(services.reject),
    danger=True,
)
ENABLE: Final = Decision(
    "enable",
    "Enable",
    "It is let in at its next try, if it is approved.",
    "was enabled",
    "change",
    lambda service: not service.enabled,
    _by(services.enable),
)
DISABLE: Final = Decision(
    "disable",
    "Disable",
    "Its sessions end everywhere, until it is enabled again.",
    "was disabled",
    "change",
    lambda service: service.enabled,
    _by(services.disable),
    danger=True,
)
ROTATE_KEY: Final = Decision(
    "rotate-key",
    "Rotate key",
    "A new key is made and shown once. The present one stays good until it is dropped, or until the"
    " next rotation: its machines can change over one by one.",
    "got a new key",
    "change",
    lambda _service: True,
    _rotate,
)
DROP_KEY: Final = Decision(
    "drop-previous-key",
    "Drop previous key",
    "The key before the last rotation is good no more; sessions that came with it end everywhere.",
    "lost its previous key",
    "change",
    lambda service: bool(service.previous_key_hash),
    _by(services.drop_previous_key),
    danger=True,
)
REPLACE_KEY: Final = Decision(
    "replace-key",
    "Replace key",
    "A new key is made and shown once. No other is good from then on: its sessions end everywhere.",
    "got a new key",
    "change",
    lambda _service: True,
    _replace,
    danger=True,
)

#: For many services at once.
OF_STATE: Final = (APPROVE, REJECT, ENABLE, DISABLE)
ALL: Final = {
    decision.name: decision for decision in (*OF_STATE, ROTATE_KEY, DROP_KEY, REPLACE_KEY)
}


def actor(request: HttpRequest) -> Actor:
    assert request.user.is_authenticated  # the admin lets nobody else in
    return Actor(
        request.user.get_username(), request.META.get("REMOTE_ADDR") or "", user=request.user
    )


def ask(
    request: HttpRequest, model_admin: ModelAdmin, decision: Decision, chosen: Sequence[Service]
) -> HttpResponse:
    """The question, to be answered by a POST to the decision's own URL. Its query says what was
    seen of each service: whoever answers decides on that, not on what became of it meanwhile.
    """
    address = reverse("admin:services_registry_decide", args=[decision.name])
    fitting = [service for service in chosen if decision.fits(service)]
    seen = {str(service.pk): service.fingerprint for service in fitting}
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": f"{decision.title}?",
        "decision": decision,
        "fitting": fitting,
        "others": [service for service in chosen if not decision.fits(service)],
        "action": f"{address}?{urlencode(seen)}",
        "back": _back(chosen),
    }
    return TemplateResponse(request, "registry/decision.html", context)


def carry_out(
    request: HttpRequest, model_admin: ModelAdmin, decision: Decision, chosen: Sequence[Service]
) -> HttpResponse:
    """Each by itself: one that can't be does not hold up the others."""
    for service in chosen:
        if not decision.fits(service):
            continue
        try:
            key = decision.carry_out(service, actor(request), request.GET.get(str(service.pk), ""))
        except RegistryError as error:
            messages.error(request, str(error))
            continue
        if key is not None:
            return show_key(request, model_admin, service, key)
        messages.success(request, f"{service.name} {decision.done}.")
    return HttpResponseRedirect(_back(chosen))


def show_key(
    request: HttpRequest, model_admin: ModelAdmin, service: Service, key: str
) -> HttpResponse:
    """The only time. It goes into nothing but this answer, and no cache keeps that."""
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": f"The key of {service.name}",
        "service": service,
        "key": key,
        "back": _back([service]),
    }
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return TemplateResponse(request, "registry/key.html", context, headers=headers)


def _back(chosen: Sequence[Service]) -> str:
    if len(chosen) == 1:
        return reverse("admin:services_registry_service_change", args=[chosen[0].pk])
    return reverse("admin:services_registry_service_changelist")
