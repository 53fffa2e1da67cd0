"""Every write to the registry. The gateway, the admin and the commands call these, and nothing
else.

Each is one transaction, leaves an audit row, and has its notice sent after commit; one that changes
nothing leaves neither. They block, so a gateway calls them on a thread.

`seen` is the service's `fingerprint` that an operator decided on. Where it is another by now,
Outdated is raised and nothing was done: a stale page does not undo what somebody else decided
meanwhile, and a double click rotates a key once. Who passes none decides on whatever there is.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.utils import timezone

from services_registry import keys, notices, rules
from services_registry.errors import LimitReached, NameTaken, Outdated, UnknownService
from services_registry.models import Service, ServiceEvent

Kind = ServiceEvent.Kind


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it and from where, for the audit. `user` where it is an operator of the admin."""

    name: str
    address: str = ""
    user: AbstractBaseUser | None = None


ENVIRONMENT: Final = Actor("environment", socket.gethostname())


def register(
    name: str,
    key: str,
    *,
    service_type: str,
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    origin: Service.Origin,
    actor: Actor,
) -> Service:
    """A new service. Raises InvalidService, NameTaken, LimitReached: nothing was done.

    One that registers itself is pending under REQUIRE_SERVICE_APPROVAL.
    """
    rules.check_name(name)
    rules.check_key(key)
    rules.check_type_is_allowed(service_type)
    rules.check_description(description)
    metadata = {} if metadata is None else metadata
    rules.check_metadata(metadata)
    _check_room(name)  # And again below: here it saves the slow hash of what is refused anyway.
    service = Service(
        name=name,
        type=service_type,
        description=description,
        metadata=metadata,
        origin=origin,
        key_hash=keys.hash_key(key),
    )
    if origin == Service.Origin.OPERATOR:
        _approve(service, actor)
    elif settings.REQUIRE_SERVICE_APPROVAL:
        service.approval = Service.Approval.PENDING
    with _one_newcomer_at_a_time():
        _check_room(name)
        service.save(force_insert=True)
        _record(service, Kind.REGISTERED, actor)
    return service


def bring_in(name: str, key: str, *, service_type: str, description: str) -> None:
    """A service that the deployment itself names: neither limits nor approval hold it. Raises
    InvalidService.

    Idempotent, any number of processes at once. Where it is there already, what operators decided
    about it stands, their change of its key included, until the environment gives another key:
    whatever SECRET_KEY is by then.
    """
    rules.check_name(name)
    rules.check_environment_key(key)
    rules.check_type(service_type)
    rules.check_description(description)
    digest = keys.environment_digest(name, key)
    while True:
        found = Service.objects.filter(name=name).first()
        if found and found.environment_digest == digest and found.environment_key_hash:
            return  # Rows from before 0003 lack the hash: while the digest fits, it is added.
        # Slow, so before anything is locked; what is locked must still be what was judged.
        judged = _hashes_of(found)
        fitting = keys.first_fitting(key, judged)
        key_hash = fitting or keys.hash_key(key)
        with _one_newcomer_at_a_time():
            service = _find_for_update(name)
            if _hashes_of(service) != judged:
                continue  # Another process was quicker, or an operator.
            if service is None:
                service = Service.objects.create(
                    name=name,
                    type=service_type,
                    description=description,
                    origin=Service.Origin.ENVIRONMENT,
                    key_hash=key_hash,
                    environment_digest=digest,
                    environment_key_hash=key_hash,
                )
                _record(service, Kind.REGISTERED, ENVIRONMENT)
                return
            if digest != service.environment_digest and fitting != service.environment_key_hash:
                _take_over(service, key_hash)
            service.environment_digest, service.environment_key_hash = digest, key_hash
            service.save()
            return


def approve(name: str, actor: Actor, *, seen: str | None = None) -> Service:
    """It may authenticate from its next try on. Raises UnknownService, Outdated."""
    with _changed(name, Kind.APPROVED, actor, seen=seen) as service:
        if service.approval != Service.Approval.APPROVED:
            _approve(service, actor)
    return service


def reject(name: str, actor: Actor, *, seen: str | None = None) -> Service:
    """Its sessions end everywhere. Raises UnknownService, Outdated."""
    with _changed(name, Kind.REJECTED, actor, seen=seen) as service:
        service.approval = Service.Approval.REJECTED
        service.approved_by_id = service.approved_at = None
    return service


def enable(name: str, actor: Actor, *, seen: str | None = None) -> Service:
    """Raises UnknownService, Outdated."""
    with _changed(name, Kind.ENABLED, actor, seen=seen) as service:
        service.enabled = True
    return service


def disable(name: str, actor: Actor, *, seen: str | None = None) -> Service:
    """Its sessions end everywhere. Raises UnknownService, Outdated."""
    with _changed(name, Kind.DISABLED, actor, seen=seen) as service:
        service.enabled = False
    return service


def rotate_key(name: str, actor: Actor, *, seen: str | None = None) -> str:
    """A new key, returned this once. The one before stays good until `drop_previous_key`, or until
    the next rotation. Raises UnknownService, Outdated.
    """
    key = keys.generate()
    key_hash = keys.hash_key(key)
    with _changed(name, Kind.KEY_CHANGED, actor, "rotated", seen=seen) as service:
        service.previous_key_hash, service.key_hash = service.key_hash, key_hash
    return key


def drop_previous_key(name: str, actor: Actor, *, seen: str | None = None) -> Service:
    """Sessions that authenticated with it end everywhere. Raises UnknownService, Outdated."""
    with _changed(name, Kind.KEY_DROPPED, actor, seen=seen) as service:
        service.previous_key_hash = ""
    return service


def replace_key(name: str, key: str, actor: Actor, *, seen: str | None = None) -> Service:
    """Another key, and no way back to the one before: its sessions end everywhere. Raises
    InvalidService, UnknownService, Outdated.
    """
    rules.check_key(key)
    key_hash = keys.hash_key(key)
    with _changed(name, Kind.KEY_CHANGED, actor, "replaced", seen=seen) as service:
        service.key_hash, service.previous_key_hash = key_hash, ""
    return service


def edit(
    name: str, actor: Actor, *, service_type: str, description: str, metadata: Mapping[str, Any]
) -> Service:
    """Raises InvalidService. A type that it has already may stay, whatever is allowed by now."""
    rules.check_description(description)
    rules.check_metadata(metadata)
    with _changed(name, Kind.EDITED, actor) as service:
        if service_type != service.type:
            rules.check_type_is_allowed(service_type)
        service.type = service_type
        service.description = description
        service.metadata = metadata
    return service


def delete(name: str, actor: Actor) -> None:
    """Its sessions end everywhere; its audit rows stay."""
    with transaction.atomic():
        service = _get_for_update(name)
        _record(service, Kind.DELETED, actor)
        service.delete()
        notices.send_after_commit(name)


def record_refusals(name: str, count: int, actor: Actor) -> None:
    """A streak of refused authentications under this name, whatever was given for one."""
    with transaction.atomic():
        service = _find_for_update(name)
        _record(service or name, Kind.REFUSED, actor, f"{count} times")


def note_authentication(name: str) -> None:
    Service.objects.filter(name=name).update(last_authenticated_at=timezone.now())


@contextmanager
def _changed(
    name: str, kind: Kind, actor: Actor, detail: str = "", *, seen: str | None = None
) -> Iterator[Service]:
    """One service, locked. What its caller changes is saved, recorded and announced. Raises
    UnknownService, Outdated.
    """
    with transaction.atomic():
        service = _get_for_update(name)
        if seen not in (None, service.fingerprint):
            raise Outdated(f"{name} was changed meanwhile: nothing was done.")
        before = dict(vars(service))
        yield service
        changed = [field for field, value in vars(service).items() if value != before[field]]
        if changed:
            service.save(update_fields=changed)
            _record(service, kind, actor, detail)
            notices.send_after_commit(name)


def _hashes_of(service: Service | None) -> list[str]:
    """What `bring_in` judges a key by; first that of the key which the environment gave last."""
    return [service.environment_key_hash, *service.key_hashes] if service else []


def _take_over(service: Service, key_hash: str) -> None:
    """The environment gives it another key than before, and so vouches for it."""
    if key_hash not in service.key_hashes:
        service.key_hash, service.previous_key_hash = key_hash, ""
        _record(service, Kind.KEY_CHANGED, ENVIRONMENT, "replaced")
        notices.send_after_commit(service.name)
    if service.approval == Service.Approval.PENDING:
        _approve(service, ENVIRONMENT)
        _record(service, Kind.APPROVED, ENVIRONMENT)
        notices.send_after_commit(service.name)


def _approve(service: Service, actor: Actor) -> None:
    service.approval = Service.Approval.APPROVED
    service.approved_by_id = actor.user.pk if actor.user else None
    service.approved_at = timezone.now()


def _get_for_update(name: str) -> Service:
    service = _find_for_update(name)
    if service is None:
        raise UnknownService(f"No service is called {name}.")
    return service


def _find_for_update(name: str) -> Service | None:
    """Locked until the transaction ends: PostgreSQL locks the row. SQLite has no such lock and
    needs none, since its transactions hold the database's from their start (settings: IMMEDIATE).
    """
    if not rules.is_name(name):
        return None
    return Service.objects.select_for_update().filter(name=name).first()


@contextmanager
def _one_newcomer_at_a_time() -> Iterator[None]:
    """A transaction that no other new service slips into: names are unique, and counted, for sure.

    On SQLite every transaction is alone. PostgreSQL must be asked; not for a lock of the table,
    which would meet the rows' locks in either order, and now and then for ever.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('services_registry'))")
        yield


def _check_room(name: str) -> None:
    if Service.objects.filter(name=name).exists():
        raise NameTaken(f"A service called {name} is registered already.")
    if Service.objects.count() >= settings.MAX_SERVICES:
        raise LimitReached(f"{settings.MAX_SERVICES} services are registered: no more fit.")


def _record(service: Service | str, kind: Kind, actor: Actor, detail: str = "") -> None:
    """`service` is a mere name where there is none that has it: it may hold anything."""
    known = service if isinstance(service, Service) else None
    ServiceEvent.objects.create(
        service=known,
        service_name=known.name if known else ascii(service)[1:-1][:64],
        kind=kind,
        actor=actor.name[:150],
        address=actor.address[:64],
        detail=detail,
    )
