"""The Lua scripts, loaded once. Each file's header says what it takes and returns."""

from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


@dataclass(frozen=True)
class Script:
    name: str
    text: bytes
    sha: str


def _load(name: str) -> Script:
    text = (_FOLDER / f"{name}.lua").read_bytes()
    # SHA-1 is how EVALSHA names a script, not a safeguard.
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest())


OPEN_SESSION = _load("open_session")
CLOSE_SESSION = _load("close_session")
BURY_VACANT = _load("bury_vacant")
REAP_USER = _load("reap_user")
TOUCH_SESSIONS = _load("touch_sessions")
MARK_HANDED = _load("mark_handed")
NODES_OF = _load("nodes_of")
TOUCH_SERVICES = _load("touch_services")
DELIVER = _load("deliver")
RENEW_EPOCH = _load("renew_epoch")
RENEW_LEASE = _load("renew_lease")
CLAIM_NODE = _load("claim_node")
DROP_LEASE = _load("drop_lease")
TAKE_TOKEN = _load("take_token")

ALL = (
    OPEN_SESSION,
    CLOSE_SESSION,
    BURY_VACANT,
    REAP_USER,
    TOUCH_SESSIONS,
    MARK_HANDED,
    NODES_OF,
    TOUCH_SERVICES,
    DELIVER,
    RENEW_EPOCH,
    RENEW_LEASE,
    CLAIM_NODE,
    DROP_LEASE,
    TAKE_TOKEN,
)
