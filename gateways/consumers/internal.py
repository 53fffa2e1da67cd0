"""The internal gateway: the platform's own services."""

import time
from collections.abc import Mapping
from typing import ClassVar

from structlog.contextvars import bind_contextvars

from gateways.consumers.authentications import counted_authentication
from gateways.consumers.base import GatewayConsumer, Handler
from gateways.consumers.handshake import Handshake
from gateways.domain.delivery import Sender
from gateways.protocol.errors import Forbidden, Unavailable
from gateways.protocol.events import Nothing, Payload, Receipt, timestamp
from gateways.protocol.internal_events import (
    AuthenticateService,
    Broadcast,
    BroadcastSent,
    Disconnected,
    DisconnectUser,
    FriendIds,
    FriendList,
    FriendsChanged,
    MutualFriendIds,
    OneUser,
    PingedService,
    RegisterService,
    SendServiceMessage,
    ServiceAuthenticated,
    ServiceInfo,
    ServicePong,
    ServiceRegistered,
    Services,
    ServiceTypes,
    Total,
    UserIds,
    UserStatuses,
)
from gateways.session import ServiceIdentity, ServiceSession
from services_registry.models import Service


class InternalConsumer(GatewayConsumer):
    limited = False
    session: ServiceSession | None = None

    @property
    def _me(self) -> ServiceSession:
        assert self.session is not None  # the dispatch table lets nobody in before
        return self.session

    async def opened(self, handshake: Handshake) -> Payload | None:  # noqa: ARG002
        self.greet()
        return None  # a key travels in an event only

    def gone(self, *, goodbye: bool) -> None:  # noqa: ARG002  # nobody watches a service
        if self.session is not None:
            self.gateway.service_sessions.leave(self.session)

    # --- requests ---------------------------------------------------------------------------------

    async def authenticate_service(self, request: AuthenticateService) -> ServiceAuthenticated:
        # Who asked in time is not to blame for how long the answer takes. That much is given back,
        # and no more: an attempt now and then would keep a socket open for ever.
        asked_at = time.monotonic()
        self.lifetime.stop_waiting_for_authentication()
        try:
            with counted_authentication():
                service = await self.gateway.registry.authenticate(
                    request.service_name, request.service_key, self.address
                )
                session = await self._begin(service)
        finally:
            if self.session is None:
                self.lifetime.prolong_authentication(time.monotonic() - asked_at)
        config = self.gateway.config
        self.lifetime.limit_session(
            expiry_seconds=config.service_session_expiry_seconds,
            idle_seconds=config.service_session_idle_timeout_seconds,
        )
        expires_ms = (time.time() + config.service_session_expiry_seconds) * 1000
        authenticated = ServiceAuthenticated(
            service_name=service.name,
            service_type=service.type,
            socket_id=self.socket_id,
            connected_at=timestamp(session.connected_at_ms),
            description=service.description,
            metadata=service.metadata,
            expires_at=timestamp(int(expires_ms)),
            idle_timeout=config.service_session_idle_timeout_seconds,
        )
        self.push("service_authenticated", authenticated)
        return authenticated

    async def register_service(self, request: RegisterService) -> ServiceRegistered:
        service = await self.gateway.registry.register(
            request.service_name,
            request.service_key,
            service_type=request.service_type,
            description=request.description,
            metadata=request.metadata or {},
            address=self.address,
        )
        approved = service.approval == Service.Approval.APPROVED
        return ServiceRegistered(
            approval=service.approval,
            service=_info(service),
            message="Registered; it may authenticate now."
            if approved
            else "Registered; it waits for an operator's approval.",
            timestamp=timestamp(),
        )

    async def ping(self, _: Nothing) -> ServicePong:
        if self.session is None:
            return ServicePong(timestamp())
        service = self.session.service
        return ServicePong(
            timestamp(),
            PingedService(service.name, service.type, service.description, service.metadata),
        )

    async def send_message(self, request: SendServiceMessage) -> Receipt:
        return await self.gateway.delivery.send(Sender.service(self._me.service), request)

    async def broadcast(self, request: Broadcast) -> BroadcastSent:
        total = await self.gateway.directory.total()
        await self.gateway.delivery.broadcast(Sender.service(self._me.service), request)
        return BroadcastSent(Total(total))

    async def list_services(self, _: Nothing) -> Services:
        services = await self.gateway.registry.services()
        return Services([_info(service) for service in services], timestamp())

    async def list_service_types(self, _: Nothing) -> ServiceTypes:
        types = await self.gateway.registry.types()
        return ServiceTypes(types, self.gateway.config.allowed_service_types, timestamp())

    async def set_friends(self, request: FriendIds) -> FriendsChanged:
        total = await self.gateway.friends.set(request.user_id, request.friend_ids)
        return FriendsChanged(request.user_id, total, timestamp())

    async def add_friends(self, request: MutualFriendIds) -> FriendsChanged:
        total = await self.gateway.friends.add(
            request.user_id, request.friend_ids, mutual=request.mutual
        )
        return FriendsChanged(request.user_id, total, timestamp())

    async def remove_friends(self, request: MutualFriendIds) -> FriendsChanged:
        total = await self.gateway.friends.remove(
            request.user_id, request.friend_ids, mutual=request.mutual
        )
        return FriendsChanged(request.user_id, total, timestamp())

    async def get_friends(self, request: OneUser) -> FriendList:
        return FriendList(request.user_id, await self.gateway.friends.of(request.user_id))

    async def get_user_status(self, request: UserIds) -> UserStatuses:
        return UserStatuses(await self.gateway.directory.statuses(request.user_ids))

    async def disconnect_user(self, request: DisconnectUser) -> Disconnected:
        closed = await self.gateway.sessions.disconnect(
            request.user_id,
            request.session_id,
            request.reason or f"Disconnected by {self._me.service.name}.",
        )
        return Disconnected(closed)

    handlers: ClassVar[Mapping[str, Handler]] = {
        "authenticate_service": Handler(AuthenticateService, authenticate_service, public=True),
        "register_service": Handler(RegisterService, register_service, public=True),
        "ping": Handler(Nothing, ping, public=True),
        "send_message": Handler(SendServiceMessage, send_message),
        "broadcast": Handler(Broadcast, broadcast),
        "list_services": Handler(Nothing, list_services),
        "list_service_types": Handler(Nothing, list_service_types),
        "set_friends": Handler(FriendIds, set_friends),
        "add_friends": Handler(MutualFriendIds, add_friends),
        "remove_friends": Handler(MutualFriendIds, remove_friends),
        "get_friends": Handler(OneUser, get_friends),
        "get_user_status": Handler(UserIds, get_user_status),
        "disconnect_user": Handler(DisconnectUser, disconnect_user),
    }

    # --- how a session begins ---------------------------------------------------------------------

    async def _begin(self, service: ServiceIdentity) -> ServiceSession:
        if self.session is not None:
            if service.name != self.session.service.name:
                raise Forbidden("This socket is another service's: open a new one.")
            await self.gateway.service_sessions.renew(self.session, service)
            return self.session
        if not self.gateway.node.serving:
            raise Unavailable("This gateway process takes no new sessions now.")
        session = ServiceSession(
            session_id=self.socket_id,
            codec=self.codec,
            outbound=self.outbound,
            service=service,
            address=self.address,
        )
        await self.gateway.service_sessions.begin(session)
        self.session = session
        bind_contextvars(service=service.name)
        return session


def _info(service: Service) -> ServiceInfo:
    return ServiceInfo(
        name=service.name,
        type=service.type,
        description=service.description,
        enabled=service.enabled,
        metadata=service.metadata,
    )
