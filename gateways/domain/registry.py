"""The services registry, as the gateways ask it: off the event loop, in bounded time, as often as a
peer may.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import structlog
from django.db import DatabaseError, close_old_connections

from gateways.domain.limits import peer_of, too_much
from gateways.domain.refusals import Refusals
from gateways.protocol.errors import (
    AuthenticationFailed,
    CloseCode,
    Conflict,
    Forbidden,
    InvalidPayload,
    Unavailable,
)
from gateways.session import ServiceIdentity
from gateways.store.limits import LimitStore, Rate
from services_registry import selectors, services
from services_registry.errors import InvalidService, LimitReached, NameTaken
from services_registry.models import Service
from services_registry.selectors import Credentials
from services_registry.services import Actor

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: A key's first check holds a thread for 0.3 s, a wrong one's for 0.6.
KEY_THREADS: Final = 2
#: Checks that may wait for a thread; those beyond are told to come back.
MAX_WAITING: Final = 32


class Registry:
    def __init__(
        self,
        limits: LimitStore,
        *,
        timeout_seconds: float,
        key_timeout_seconds: float,
        failed_authentications: Rate | None,
        registrations: Rate | None,
    ) -> None:
        """Rates are for each address, of IPv6 each /64; None: as many as it likes."""
        self._limits = limits
        self._timeout_seconds = timeout_seconds
        self._key_seconds = key_timeout_seconds
        self._failed_authentications = failed_authentications
        self._registrations = registrations
        # Apart, so that no number of wrong keys delays the news that a service is disabled.
        self._key_threads = ThreadPoolExecutor(KEY_THREADS, thread_name_prefix="keys")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._waiting = 0
        self._checks: dict[tuple[str, str], asyncio.Task[Credentials | None]] = {}
        self._refusals = Refusals(self._record_refusals)

    async def authenticate(self, name: str, key: str, address: str) -> ServiceIdentity:
        """The service whose key it is, where it may hold sessions now.

        Raises AuthenticationFailed, with the same words for an unknown service and a wrong key;
        RateLimited, Unavailable, StoreUnavailable.
        """
        # Taken before it is known whether the attempt fails: any number may come at once.
        await self._take("authentication", address, self._failed_authentications)
        try:
            service = _admit(await self._find(name, key))
        except AuthenticationFailed as failure:
            self._refusals.note(name, address)
            # Whose key was right guesses nothing: others at its address do not pay for it.
            if failure.code == Forbidden.code:
                await self._put_back("authentication", address, self._failed_authentications)
            raise
        except Unavailable:
            await self._put_back("authentication", address, self._failed_authentications)
            raise
        await self._put_back("authentication", address, self._failed_authentications)
        return service

    async def note_authentication(self, name: str) -> None:
        """For its "last seen". That this failed is no reason to refuse anybody."""
        try:
            await self._ask(self._thread, services.note_authentication, name)
        except Unavailable as error:
            log.warning("authentication not noted", service=name, error=str(error))

    async def register(
        self,
        name: str,
        key: str,
        *,
        service_type: str,
        description: str,
        metadata: Mapping[str, Any],
        address: str,
    ) -> Service:
        """Raises InvalidPayload, Conflict, RateLimited, Unavailable, StoreUnavailable."""
        await self._take("registration", address, self._registrations)
        return await self._check_key(
            lambda: services.register(
                name,
                key,
                service_type=service_type,
                description=description,
                metadata=metadata,
                origin=Service.Origin.REGISTRATION,
                actor=Actor(name, address),
            )
        )

    async def current(self, service: ServiceIdentity) -> ServiceIdentity | None:
        """What a session that authenticated so goes on as; None where it may not. Raises
        Unavailable.
        """
        found = await self._ask(
            self._thread, selectors.find_admitted, service.name, service.key_hash
        )
        return None if found is None else _identity(found, service.key_hash)

    async def services(self) -> Sequence[Service]:
        """Those that were approved. Raises Unavailable."""
        return await self._ask(self._thread, selectors.approved)

    async def types(self) -> Sequence[str]:
        """The types in use. Raises Unavailable."""
        return await self._ask(self._thread, selectors.types)

    async def close(self) -> None:
        await self._refusals.close()
        for threads in (self._key_threads, self._thread):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _record_refusals(self, name: str, address: str, count: int) -> None:
        try:
            await self._ask(
                self._thread, services.record_refusals, name, count, Actor(name, address)
            )
        except Unavailable as error:
            log.warning("refusals not recorded", service=ascii(name), count=count, error=str(error))

    async def _take(self, name: str, address: str, rate: Rate | None) -> None:
        if rate is None:
            return
        wait_ms = await self._limits.take(name, peer_of(address), rate)
        if wait_ms:
            raise too_much(name, f"Too many {name} attempts.", wait_ms / 1000)

    async def _put_back(self, name: str, address: str, rate: Rate | None) -> None:
        if rate is not None:
            await self._limits.put_back(name, peer_of(address), rate)

    async def _find(self, name: str, key: str) -> Credentials | None:
        """Sessions of one service that come at once share one check."""
        check = self._checks.get((name, key))
        if check is None:
            work = self._check_key(selectors.find_by_credentials, name, key)
            check = self._checks[name, key] = asyncio.get_running_loop().create_task(work)
            check.add_done_callback(lambda _: self._checks.pop((name, key)))
            check.add_done_callback(_seen)
        return await asyncio.shield(check)

    async def _check_key(self, call: Callable[..., T], *args: Any) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many keys are being checked.")
        self._waiting += 1
        try:
            return await self._ask(self._key_threads, call, *args, seconds=self._key_seconds)
        finally:
            self._waiting -= 1

    async def _ask(
        self,
        threads: ThreadPoolExecutor,
        call: Callable[..., T],
        *args: Any,
        seconds: float | None = None,
    ) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds or self._timeout_seconds):
                return await loop.run_in_executor(threads, _on_fresh_connection, call, args)
        except InvalidService as error:
            raise InvalidPayload(str(error)) from None
        except (NameTaken, LimitReached) as error:
            raise Conflict(str(error)) from None
        except (DatabaseError, TimeoutError) as error:
            log.warning("registry unavailable", error=f"{type(error).__name__}: {error}")
            raise Unavailable("The services registry does not answer now.") from error


def _seen(check: asyncio.Task[Any]) -> None:
    """Whoever asked may have gone; then nobody else looks at how it failed."""
    if not check.cancelled():
        check.exception()


def _on_fresh_connection(call: Callable[..., T], args: Sequence[Any]) -> T:
    """What Django does around a request: no thread keeps a connection that has gone stale."""
    close_old_connections()
    try:
        return call(*args)
    finally:
        close_old_connections()


def _admit(found: Credentials | None) -> ServiceIdentity:
    if found is None:
        raise AuthenticationFailed("No service has this name and key.")
    service = found.service
    if not service.admitted:
        raise AuthenticationFailed(
            _why_not_admitted(service), code=Forbidden.code, close_code=CloseCode.REVOKED
        )
    return _identity(service, found.key_hash)


def _identity(service: Service, key_hash: str) -> ServiceIdentity:
    return ServiceIdentity(
        name=service.name,
        type=service.type,
        description=service.description,
        metadata=service.metadata,
        key_hash=key_hash,
    )


def _why_not_admitted(service: Service) -> str:
    if service.approval == Service.Approval.PENDING:
        return "The service waits for an operator's approval."
    if service.approval == Service.Approval.REJECTED:
        return "The service was rejected."
    return "The service is disabled."
