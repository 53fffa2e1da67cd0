"""What a load test found, for a person and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateways.management.loadtest.ledger import Latencies, percentile
from gateways.management.loadtest.swarm import Swarm

#: Of one core: beyond this the load generator itself is what is slow.
BUSY_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Times:
    """In milliseconds; None where nothing was measured."""

    p50: float | None
    p99: float | None

    @classmethod
    def of(cls, latencies: Latencies) -> "Times":
        return cls(_ms(latencies.percentile(0.5)), _ms(latencies.percentile(0.99)))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the processes watched under one name."""

    #: Of one core.
    cpu_share: float
    cpu_us_a_delivery: float | None
    cpu_ms_a_connect: float
    rss_kib_a_connection: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Report:
    users: int
    senders: int
    recipients: int
    seconds: float
    connecting_seconds: float
    connect_ms: Times
    delivered: int
    delivered_a_second: float
    delivery_ms: Times
    answer_ms: Times
    #: Second by second.
    delivery_p50_ms: list[float | None]
    delivery_p99_ms: list[float | None]
    #: Deliveries that were owed and never came, answers likewise.
    lost: int
    unanswered: int
    doubled: int
    refused: dict[str, int]
    lost_connections: int
    generator_share: float
    costs: dict[str, Cost]

    @classmethod
    def of(cls, swarm: Swarm) -> "Report":
        ledger, plan = swarm.ledger, swarm.plan
        return cls(
            users=plan.users,
            senders=plan.senders,
            recipients=plan.recipients,
            seconds=swarm.measured_seconds,
            connecting_seconds=swarm.connecting_seconds,
            connect_ms=Times(
                _ms(percentile(swarm.connect_seconds, 0.5)),
                _ms(percentile(swarm.connect_seconds, 0.99)),
            ),
            delivered=swarm.delivered,
            delivered_a_second=swarm.delivered / swarm.measured_seconds,
            delivery_ms=Times.of(ledger.delivery),
            answer_ms=Times.of(ledger.answer_time),
            delivery_p50_ms=[_ms(value) for value in ledger.delivery.by_second(0.5)],
            delivery_p99_ms=[_ms(value) for value in ledger.delivery.by_second(0.99)],
            lost=ledger.missing,
            unanswered=ledger.unanswered,
            doubled=ledger.doubled,
            refused=dict(ledger.refused),
            lost_connections=swarm.lost_connections,
            generator_share=swarm.own_share,
            costs=_costs(swarm),
        )

    @property
    def sound(self) -> bool:
        """Whether all that was sent was taken and reached everybody, once."""
        return not (
            self.lost or self.unanswered or self.doubled or self.refused or self.lost_connections
        )

    @property
    def generator_was_slow(self) -> bool:
        return self.generator_share > BUSY_SHARE

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> Iterator[tuple[str, str]]:
        """What it was, and the figure."""
        yield (
            "connected",
            f"{self.users} users in {self.connecting_seconds:.1f} s, {_times(self.connect_ms)}",
        )
        if self.senders:
            yield "delivered", f"{self.delivered:,} = {self.delivered_a_second:,.0f} a second"
            yield "delivery", _times(self.delivery_ms)
            yield "answer", _times(self.answer_ms)
            yield "lost", f"{self.lost:,}"
            yield "unanswered", f"{self.unanswered:,}"
            yield "doubled", f"{self.doubled:,}"
        for code, count in self.refused.items():
            yield f"refused: {code}", f"{count:,}"
        if self.lost_connections:
            yield "connections lost", f"{self.lost_connections:,}"
        for name, cost in self.costs.items():
            each = cost.cpu_us_a_delivery
            yield (
                name,
                (f"{each:.1f} µs of CPU a delivery, " if each is not None else "")
                + f"{cost.cpu_share:.1%} of a core; {cost.cpu_ms_a_connect:.2f} ms of CPU and "
                f"{cost.rss_kib_a_connection:.1f} KiB a connection; {cost.rss_mib:.0f} MiB in all",
            )
        slow = ": it was the bottleneck" if self.generator_was_slow else ""
        yield "load generator", f"{self.generator_share:.0%} of a core{slow}"


def _costs(swarm: Swarm) -> dict[str, Cost]:
    readings = swarm.readings
    return {
        name: Cost(
            cpu_share=(spent := after.cpu_seconds - readings.measured_from[name].cpu_seconds)
            / swarm.measured_seconds,
            cpu_us_a_delivery=spent / swarm.delivered * 1e6 if swarm.delivered else None,
            cpu_ms_a_connect=(
                (readings.connected[name].cpu_seconds - readings.before[name].cpu_seconds)
                / swarm.plan.users
                * 1e3
            ),
            rss_kib_a_connection=(
                (readings.connected[name].rss_bytes - readings.before[name].rss_bytes)
                / swarm.plan.users
                / 1024
            ),
            rss_mib=after.rss_bytes / 2**20,
        )
        for name, after in readings.measured_to.items()
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _times(times: Times) -> str:
    if times.p50 is None or times.p99 is None:
        return "none"
    return f"p50 {times.p50:.2f} ms, p99 {times.p99:.2f} ms"
