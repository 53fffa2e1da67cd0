"""One process of the gateway, put together: store, hub, domain, and the node they live on."""

import secrets
from typing import TYPE_CHECKING

from gateways.config import Config
from gateways.connections import Connections
from gateways.domain.announcer import Announcer
from gateways.domain.delivery import Delivery
from gateways.domain.directory import Directory
from gateways.domain.explanation import Explanations
from gateways.domain.friends import Friends
from gateways.domain.limits import Allowances, Door
from gateways.domain.logins import Logins
from gateways.domain.presence import Presence
from gateways.domain.recovery import Recoveries
from gateways.domain.registry import Registry
from gateways.domain.service_sessions import ServiceSessions
from gateways.domain.sessions import Sessions
from gateways.domain.tokens import TokenVerifier
from gateways.domain.tracing import Tracing
from gateways.hub import Hub
from gateways.layer import PipelinedLayer
from gateways.mailbox import Mailbox
from gateways.node import Node
from gateways.outbound import Turn
from gateways.reconciler import Reconciler
from gateways.store.batcher import Batcher
from gateways.store.cluster import Cluster
from gateways.store.connection import connect
from gateways.store.directory import DirectoryStore
from gateways.store.dossiers import DossierStore
from gateways.store.durability import Durability, DurabilityStore
from gateways.store.friends import FriendStore
from gateways.store.inbox import InboxStore
from gateways.store.keys import Keys
from gateways.store.limits import LimitStore
from gateways.store.nodes import NodeStore
from gateways.store.place import Engine, Place
from gateways.store.recoveries import RecoveryStore
from gateways.store.service_sessions import ServiceSessionStore
from gateways.store.sessions import SessionStore
from gateways.store.traces import TraceStore
from gateways.trail import Trail

if TYPE_CHECKING:
    from channels_redis.pubsub import RedisPubSubChannelLayer
    from redis.asyncio import Redis


class Gateway:
    """Built inside a running event loop. Started, it holds sessions; unstarted, it serves an
    operator's command.
    """

    def __init__(
        self, config: Config, layer: "RedisPubSubChannelLayer", *, redis: "Redis | None" = None
    ) -> None:
        self.config = config
        self.node_id = secrets.token_hex(6)
        place, timeout_seconds = Place.of(config.redis_url), config.redis_timeout_seconds
        client = redis or connect(place, timeout_seconds=timeout_seconds)
        fsync = config.durability is Durability.FSYNC
        self.redis = (
            Cluster(place, client, timeout_seconds=timeout_seconds, fsync=fsync)
            if place.engine is Engine.CLUSTER
            else Batcher(client, timeout_seconds=timeout_seconds, fsync=fsync)
        )
        self.durability = DurabilityStore(self.redis, asked=config.durability)
        keys = Keys(config.redis_prefix)
        inbox = InboxStore(
            self.redis,
            keys,
            ttl_seconds=config.inbox_ttl_seconds,
            max_messages=config.inbox_max_messages,
        )
        sessions = SessionStore(
            self.redis,
            keys,
            inbox_ttl_seconds=config.inbox_ttl_seconds,
            inbox_max_messages=config.inbox_max_messages,
        )
        nodes = NodeStore(self.redis, keys, lease_seconds=config.node_lease_seconds)
        friends = FriendStore(self.redis, keys)
        directory = DirectoryStore(self.redis, keys)

        traces = TraceStore(self.redis, keys, client)

        self.trail = Trail(self.node_id, traces.publish)
        self.connections = Connections()
        self.turn = Turn()
        # What follows a lambda here comes later, and is not there yet.
        self.hub = Hub(
            inbox,
            self.trail,
            on_other_epoch=lambda: self.node.reconcile_now(),  # noqa: PLW0108
        )
        self.mailbox = Mailbox(
            PipelinedLayer(layer, self.redis),
            self.hub,
            self.connections,
            node_id=self.node_id,
            prefix=config.redis_prefix,
            timeout_seconds=config.redis_timeout_seconds,
            on_hearing_again=lambda: self.node.reconcile_now(after_silence=True),
            on_service_changed=lambda name: self.service_sessions.on_changed(name),  # noqa: PLW0108
            on_trace=self.trail.follow,
        )
        self.tokens = TokenVerifier()
        self.announcer = Announcer(
            sessions=sessions,
            friends=friends,
            directory=directory,
            mailbox=self.mailbox,
            trail=self.trail,
        )
        self.presence = Presence(
            node_id=self.node_id,
            sessions=sessions,
            nodes=nodes,
            announcer=self.announcer,
            hub=self.hub,
            trail=self.trail,
            offline_grace_seconds=config.offline_grace_seconds,
        )
        limits = LimitStore(self.redis, keys)
        self.door = Door(
            connections=config.connections,
            at_once=config.connections_at_once,
            failed_tokens=config.failed_tokens,
            admissions=config.admissions,
        )
        self.logins = Logins(limits, config.admin_logins)
        self.delivery = Delivery(
            inbox,
            nodes,
            self.mailbox,
            Allowances(limits, messages=config.messages, recipients=config.recipients),
            self.trail,
            max_message_bytes=config.max_message_bytes,
            max_recipients=config.max_recipients,
        )
        self.friends = Friends(friends, sessions)
        self.directory = Directory(
            directory,
            sessions,
            friends,
            detailed_for_everyone=config.detailed_presence_for_everyone,
        )
        self.sessions = Sessions(
            sessions=sessions,
            nodes=nodes,
            directory=directory,
            announcer=self.announcer,
            mailbox=self.mailbox,
        )
        self.explanations = Explanations(DossierStore(self.redis, keys), config)
        self.tracing = Tracing(nodes, self.mailbox, traces)
        self.recoveries = Recoveries(RecoveryStore(self.redis, keys))
        self.registry = Registry(
            limits,
            timeout_seconds=config.redis_timeout_seconds,
            key_timeout_seconds=config.auth_timeout_seconds,
            failed_authentications=config.failed_authentications,
            registrations=config.registrations,
        )
        self.service_sessions = ServiceSessions(
            node_id=self.node_id,
            store=ServiceSessionStore(self.redis, keys),
            nodes=nodes,
            registry=self.registry,
            mailbox=self.mailbox,
        )
        self.node = Node(
            config,
            node_id=self.node_id,
            connections=self.connections,
            hub=self.hub,
            mailbox=self.mailbox,
            presence=self.presence,
            announcer=self.announcer,
            service_sessions=self.service_sessions,
            reconciler=Reconciler(
                node_id=self.node_id,
                connections=self.connections,
                hub=self.hub,
                presence=self.presence,
                nodes=nodes,
                sessions=sessions,
                friends=friends,
            ),
            trail=self.trail,
            sweep=self.sessions.sweep,
            nodes=nodes,
            sessions=sessions,
        )

    async def start(self) -> None:
        await self.node.start()
        await self.tokens.prefetch()

    async def ready_reason(self) -> str | None:
        """Why this process can't serve now; None where it can. Raises StoreUnavailable."""
        return await self.node.ready_reason() or await self.durability.refusal()

    async def drain(self) -> None:
        """Send the clients elsewhere. Their sessions end with 1012."""
        self.presence.drain()
        await self.connections.drain()

    async def stop(self) -> None:
        """Leave nothing behind but what another node is to bury. An unstarted one may stop too."""
        await self.presence.settle(timeout_seconds=self.config.redis_timeout_seconds)
        await self.recoveries.settle()
        await self.service_sessions.stop()
        await self.registry.close()
        await self.mailbox.flushed(timeout_seconds=self.config.redis_timeout_seconds)
        await self.node.stop()
        await self.trail.stop()
        self.tokens.close()
        await self.redis.close()
