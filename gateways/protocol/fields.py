"""Types of what the gateway says, where their Python type does not tell all. What they add is for
readers and for the protocol's document (asyncapi.py): decoding does not look at it, so that our own
clients outlive a value that they do not know.
"""

from typing import Annotated, Final

from msgspec import Meta

from gateways.protocol.errors import GatewayError


def one_of(*values: str) -> Meta:
    return Meta(extra_json_schema={"enum": list(values)})


#: As `events.timestamp` makes them.
TIMESTAMP: Final = {
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
}

Timestamp = Annotated[str, Meta(extra_json_schema=TIMESTAMP)]
NotNegative = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
ErrorStatus = Annotated[str, one_of("error")]
Success = Annotated[str, one_of("success")]
#: Of a message: `error` where it failed for all recipients.
Outcome = Annotated[str, one_of("sent", "error")]
#: Of a broadcast, which has no outcome for each recipient.
Sent = Annotated[str, one_of("sent")]
Presence = Annotated[str, one_of("online", "offline")]
FailureCode = Annotated[str, one_of(*(kind.code for kind in GatewayError.__subclasses__()))]
#: Of an attempt to authenticate.
RefusalCode = Annotated[str, one_of("unauthenticated", "forbidden")]
#: Why not all that a session missed could be given to it.
Loss = Annotated[str, one_of("trimmed", "expired", "epoch", "ahead")]
Expiry = Annotated[str, one_of("token", "idle", "expired")]
Approval = Annotated[str, one_of("approved", "pending")]
