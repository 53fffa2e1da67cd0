"""Every read of the registry. They block: a gateway calls them on a thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services_registry import keys, rules
from services_registry.errors import UnknownService
from services_registry.models import Service, ServiceEvent


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an authentication found. `key_hash` is the one that fits: it changes with the key."""

    service: Service
    key_hash: str


def get(name: str) -> Service:
    """Raises UnknownService."""
    service = _find(name)
    if service is None:
        raise UnknownService(f"No service is called {name}.")
    return service


def find_by_credentials(name: str, key: str) -> Credentials | None:
    """The service of this name where the key is its own; None, as slowly, for any other reason.

    It says nothing of whether the service is admitted.
    """
    service = _find(name)
    fitting = keys.find(key, service.key_hashes if service else [])
    return Credentials(service, fitting) if service is not None and fitting is not None else None


def find_admitted(name: str, key_hash: str) -> Service | None:
    """The service as it is now, where a session that authenticated with this key may go on."""
    service = _find(name)
    holds = service is not None and service.admitted and key_hash in service.key_hashes
    return service if holds else None


def all_services() -> Sequence[Service]:
    return list(Service.objects.all())


def approved() -> Sequence[Service]:
    """The disabled ones too."""
    return list(Service.objects.filter(approval=Service.Approval.APPROVED))


def types() -> Sequence[str]:
    """The types in use, in order."""
    return list(Service.objects.order_by("type").values_list("type", flat=True).distinct())


def pending_count() -> int:
    return Service.objects.filter(approval=Service.Approval.PENDING).count()


def events(name: str, limit: int) -> Sequence[ServiceEvent]:
    """What was done under this name, the latest first, also to a service that is gone."""
    return list(ServiceEvent.objects.filter(service_name=name)[:limit])


def as_dict(service: Service) -> dict[str, Any]:
    """All that may be told of a service; never a key."""
    return {
        "name": service.name,
        "type": service.type,
        "description": service.description,
        "enabled": service.enabled,
        "approval": service.approval,
        "origin": service.origin,
        "metadata": service.metadata,
        "created": service.created_at,
        "lastAuthenticated": service.last_authenticated_at,
    }


def _find(name: str) -> Service | None:
    # A name that can't be is not for the database to judge: PostgreSQL raises at a NUL.
    return Service.objects.filter(name=name).first() if rules.is_name(name) else None
