"""The names of everything in Redis. docs/architecture.md has the table of types and owners.

All keys of one user share the hash tag `{<user id>}`, so that a cluster keeps them in one slot and
a script may touch them together (Redis Cluster specification, "Hash tags").
"""

import re
from urllib.parse import quote, unquote
from zlib import crc32

DIRECTORY_SHARDS = 16


#: What `quote` leaves as it is, as nearly every id is; it takes four times as long to see that.
_is_plain = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


def escape(user_id: str) -> str:
    """Ids may hold `{`, `}`, `:`, `*`, spaces and any script; keys get ASCII without these."""
    return user_id if _is_plain(user_id) else quote(user_id, safe="")


def unescape(escaped: str) -> str:
    return unquote(escaped)


class Keys:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.leases = f"{prefix}{{nodes}}:leases"
        self.claims = f"{prefix}{{nodes}}:claims"
        self.life = f"{prefix}{{nodes}}:life"
        self.terms = f"{prefix}{{nodes}}:terms"
        self.service_sessions = f"{prefix}{{nodes}}:services"

    def _user(self, user_id: str, what: str) -> str:
        return f"{self.prefix}u:{{{escape(user_id)}}}:{what}"

    def sessions(self, user_id: str) -> str:
        return self._user(user_id, "sessions")

    def state(self, user_id: str) -> str:
        return self._user(user_id, "state")

    def inbox(self, user_id: str) -> str:
        return self._user(user_id, "inbox")

    def friends(self, user_id: str) -> str:
        return self._user(user_id, "friends")

    def friend_of(self, user_id: str) -> str:
        return self._user(user_id, "friend_of")

    def sent(self, sender_id: str, message_id: str) -> str:
        """The first receipt of a message whose id its sender chose."""
        return self._user(sender_id, f"sent:{escape(message_id)}")

    def delivery(self, user_id: str) -> tuple[str, str, str]:
        """What deliver.lua touches of one recipient, in its order."""
        return self.inbox(user_id), self.state(user_id), self.sessions(user_id)

    def got(self, user_id: str, repeat_key: str) -> str:
        """That the user has a message whose id its sender chose; as `repeat_key()` names it."""
        return self._user(user_id, f"got:{repeat_key}")

    @staticmethod
    def repeat_key(sender_id: str, message_id: str) -> str:
        return f"{escape(sender_id)}:{escape(message_id)}"

    def online(self, shard: int) -> str:
        return f"{self.prefix}online:{shard}"

    @staticmethod
    def shard(user_id: str) -> int:
        return crc32(user_id.encode()) % DIRECTORY_SHARDS

    def node_users(self, node_id: str) -> str:
        return f"{self.prefix}node:{node_id}:users"

    def recovery(self, recovery_id: str) -> str:
        return f"{self.prefix}recovery:{escape(recovery_id)}"

    def limit(self, name: str, subject: str) -> str:
        return f"{self.prefix}limit:{name}:{escape(subject)}"

    def trace(self, user_id: str) -> str:
        """No key: a channel of pub/sub."""
        return f"{self.prefix}trace:{escape(user_id)}"

    def duty(self, name: str) -> str:
        """Held by the one process of a deployment which does this duty now."""
        return f"{self.prefix}duty:{name}"
