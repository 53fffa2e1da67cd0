"""What the gateways need to know of their deployment, cast and checked by scarfall/settings.py."""

from dataclasses import dataclass
from typing import Final

from gateways.store.durability import Durability
from gateways.store.limits import Rate

FAILED_AUTHENTICATIONS: Final = Rate(20, 60)
REGISTRATIONS: Final = Rate(10, 60)
ADMIN_LOGINS: Final = Rate(10, 300)
FAILED_TOKENS: Final = Rate(100, 60)
CONNECTIONS: Final = Rate(1000, 10)
ADMISSIONS: Final = Rate(1000, 2)
FRAMES: Final = Rate(600, 10)
FRAME_BYTES: Final = Rate(8_388_608, 10)
MESSAGES: Final = Rate(300, 10)
RECIPIENTS: Final = Rate(20_000, 10)
PRESENCE_QUERIES: Final = Rate(30, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """docs/configuration.md says what each means; names and units are those of the variables."""

    redis_url: str
    redis_prefix: str
    redis_timeout_seconds: float = 5.0
    durability: Durability = Durability.PROCESS
    auth_timeout_seconds: float = 10.0
    session_expiry_seconds: float = 86_400.0
    idle_timeout_seconds: float = 1_800.0
    offline_grace_seconds: float = 3.0
    node_lease_seconds: float = 15.0
    reconcile_interval_seconds: float = 10.0
    session_cleanup_interval_seconds: float = 300.0
    service_session_expiry_seconds: float = 3_600.0
    service_session_idle_timeout_seconds: float = 300.0
    failed_authentications: Rate | None = FAILED_AUTHENTICATIONS
    registrations: Rate | None = REGISTRATIONS
    admin_logins: Rate | None = ADMIN_LOGINS
    failed_tokens: Rate | None = FAILED_TOKENS
    connections: Rate | None = CONNECTIONS
    connections_at_once: int = 2000
    sessions_of_a_user: int = 100
    admissions: Rate | None = ADMISSIONS
    frames: Rate | None = FRAMES
    frame_bytes: Rate | None = FRAME_BYTES
    messages: Rate | None = MESSAGES
    recipients: Rate | None = RECIPIENTS
    presence_queries: Rate | None = PRESENCE_QUERIES
    allowed_service_types: tuple[str, ...] = ()
    inbox_ttl_seconds: float = 604_800.0
    inbox_max_messages: int = 1000
    max_message_bytes: int = 65_536
    max_recipients: int = 1000
    max_outbound_bytes: int = 1_048_576
    detailed_presence_for_everyone: bool = False
    allow_query_token: bool = False
    cors_origins: tuple[str, ...] = ("*",)
