"""What this process counts: one module-level figure each, whatever part of the gateway it is of.

A message is counted seven times, in 1.1 µs. prometheus_client's counters take 15 for that, with a
lock and a file for each process. scarfall/prometheus.py shows these, of all processes.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

#: Seconds: from what a busy gateway needs up to where somebody waits.
BOUNDS: Final = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

#: A figure; by label; or a histogram's counts, not cumulated, and their sum.
Value = float | dict[str, float] | tuple[list[int], float]


class Metric:
    #: Every metric there is, in the order in which it is shown.
    all: Final[list["Metric"]] = []

    def __init__(self, name: str, meaning: str, *, label: str | None = None) -> None:
        self.name = name
        self.meaning = meaning
        self.label = label
        self.all.append(self)


class Gauge(Metric):
    """Looked at when somebody asks: gateways/vitals.py."""


class Counted(Metric):
    """What only grows, until the process ends."""

    def value(self) -> Value:
        raise NotImplementedError


class Counter(Counted):
    def __init__(self, name: str, meaning: str) -> None:
        super().__init__(name, meaning)
        self.count = 0

    def add(self, count: int = 1) -> None:
        self.count += count

    def value(self) -> float:
        return self.count


class LabelledCounter(Counted):
    """`label`'s values are of a fixed set, never what a client says. Those of `known` are shown
    from the start: what Prometheus has not seen at 0 it can't see grow.
    """

    def __init__(self, name: str, meaning: str, *, label: str, known: Sequence[str] = ()) -> None:
        super().__init__(name, meaning, label=label)
        self._counts: dict[str, float] = dict.fromkeys(known, 0)

    def add(self, which: str, count: int = 1) -> None:
        self._counts[which] = self._counts.get(which, 0) + count

    def value(self) -> dict[str, float]:
        return dict(self._counts)


class Histogram(Counted):
    """Of seconds."""

    def __init__(self, name: str, meaning: str, *, bounds: Sequence[float] = BOUNDS) -> None:
        super().__init__(name, meaning)
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self._sum += seconds

    def value(self) -> tuple[list[int], float]:
        return list(self._counts), self._sum


def counted() -> dict[str, Value]:
    return {metric.name: metric.value() for metric in Metric.all if isinstance(metric, Counted)}


# --- Sockets

connections = Gauge("scarfall_connections", "Open sockets, authenticated or not.")
connections_opened = Counter("scarfall_connections_opened_total", "Sockets that were opened.")
sessions = Gauge("scarfall_sessions", "Authenticated sessions of users.")
service_sessions = Gauge("scarfall_service_sessions", "Authenticated sessions of services.")
users = Gauge("scarfall_users", "Users with a session in this process.")
authentications = LabelledCounter(
    "scarfall_authentications_total",
    "Attempts to authenticate, of users and of services, by what came of them.",
    label="result",
    known=("ok", "recovered", "unauthenticated", "forbidden", "rate_limited", "unavailable"),
)
closes = LabelledCounter(
    "scarfall_closes_total", "Sockets that the gateway closed, by close code.", label="code"
)
slow_consumers = Counter(
    "scarfall_slow_consumer_closes_total", "Sockets closed since their reader did not keep up."
)
queue_bytes = Gauge("scarfall_queue_bytes", "Bytes that wait for the readers of all sockets.")

# --- Requests

requests = LabelledCounter("scarfall_requests_total", "Requests that were served.", label="event")
failures = LabelledCounter(
    "scarfall_failures_total",
    "Requests and frames answered with a failure.",
    label="code",
    known=("internal_error", "unavailable", "rate_limited", "invalid_frame", "invalid_payload"),
)
rate_limited = LabelledCounter(
    "scarfall_rate_limited_total",
    "Refusals, by the limit that was met.",
    label="limit",
    known=(
        *("frames", "messages", "recipients", "presence_queries", "sessions"),
        *("connections", "address_connections", "failed_tokens", "admissions"),
        *("authentication", "registration", "admin_logins"),
    ),
)

# --- Messages

messages_accepted = Counter("scarfall_messages_accepted_total", "Messages stored and answered for.")
recipients = LabelledCounter(
    "scarfall_message_recipients_total",
    "Recipients of accepted messages: sent (online), queued (in the inbox), failed.",
    label="outcome",
    known=("sent", "queued", "failed"),
)
messages_delivered = Counter(
    "scarfall_messages_delivered_total", "Messages handed to sessions; one for each device."
)
messages_recovered = Counter(
    "scarfall_messages_recovered_total",
    "Those of the delivered that were read from an inbox: after a resume, or to fill a gap.",
)
gaps = Counter("scarfall_gaps_filled_total", "Gaps in a session's messages that were filled.")
delivery_seconds = Histogram(
    "scarfall_delivery_seconds",
    "From a message's arrival at one gateway to its handing over at its recipients', by their"
    " machines' clocks; once for each process that has some of them.",
)

# --- Presence

transitions = LabelledCounter(
    "scarfall_presence_changes_total",
    "Users that came or went, as told by this process; where two of them tell of one, both count.",
    label="status",
    known=("online", "offline"),
)
announcements_waiting = Gauge(
    "scarfall_presence_changes_waiting", "Changes of presence that are still to be told."
)
users_online = Gauge(
    "scarfall_users_online", "Users online on all nodes, as the store has it; every node says so."
)

# --- The store, and the nodes

store_seconds = Histogram(
    "scarfall_store_seconds", "Round trips to Redis. One carries the calls of a turn."
)
store_calls = Counter("scarfall_store_calls_total", "Commands and scripts sent to Redis.")
store_failures = Counter("scarfall_store_failures_total", "Round trips that Redis did not answer.")
store_waiting = Gauge("scarfall_store_calls_waiting", "Calls that wait for a connection to Redis.")
store_up = Gauge("scarfall_store_up", "Whether the store answered when this was asked for.")
nudges = Counter("scarfall_nudges_sent_total", "Nudges sent to other nodes.")
nudges_lost = Counter(
    "scarfall_nudges_lost_total", "Nudges to other nodes that did not leave; reconciling mends it."
)
deaf = Gauge("scarfall_channel_layer_deaf", "Whether the node does not hear itself.")
reconciles = Counter("scarfall_reconciles_total", "Comparisons of this node with the store.")
repairs = LabelledCounter(
    "scarfall_repairs_total",
    "What they set right: sessions put back, ended, or disowned.",
    label="kind",
    known=("put back", "ended", "disowned"),
)
nodes = Gauge("scarfall_nodes", "Nodes with a lease, as the store has it; every node says so.")
lease_age = Gauge("scarfall_lease_age_seconds", "Since this node's lease was renewed.")
leases_lost = Counter("scarfall_leases_lost_total", "Times that this node was given up by others.")
burials = Counter("scarfall_nodes_buried_total", "Dead nodes that this one buried.")
data_losses = Counter("scarfall_store_data_losses_total", "Times that the store lost its data.")
duty_failures = LabelledCounter(
    "scarfall_duty_failures_total",
    "Periodic duties that failed.",
    label="duty",
    known=("lease", "reconcile", "handed", "sweep"),
)

# --- The process

process_up = Gauge(
    "scarfall_process_up", "Whether the process answered; its other figures else are missing."
)
loop_lag_seconds = Histogram(
    "scarfall_event_loop_lag_seconds", "How late the event loop came to what was due."
)
cpu_seconds = Gauge("scarfall_process_cpu_seconds_total", "User and system time of the process.")
resident_bytes = Gauge("scarfall_process_resident_memory_bytes", "Memory of the process.")
descriptors = Gauge("scarfall_process_open_fds", "Open files and sockets of the process.")
max_descriptors = Gauge("scarfall_process_max_fds", "How many the process may have.")
