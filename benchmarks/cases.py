"""What is measured, and how far it is to be reached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks import status
from benchmarks.contenders import (
    CONTENDERS,
    GATEWAY,
    GATEWAY_SOCKETIO,
    REDIS_ADAPTER,
    STREAMS_ADAPTER,
    Contender,
    Running,
)
from benchmarks.load import load, online

#: What was measured, by name; those of FIGURES.
Figures = dict[str, float | None]

FIGURES: Final = {
    "cpu_us": "server CPU, µs a delivery",
    "redis_us": "Redis' CPU, µs a delivery",
    "delivered": "delivered a second",
    "delivery_p50": "delivery p50, ms",
    "delivery_p99": "delivery p99, ms",
    "answer_p50": "answer p50, ms",
    "answer_p99": "answer p99, ms",
    "connect_cpu_ms": "server CPU, ms a connect",
    "connect_p99": "connect p99, ms",
    "rss_kib": "memory, KiB a connection",
    "idle_share": "CPU while idle, share of a core",
    "transition_cpu_ms": "server CPU, ms a change",
}
LOAD_FIGURES: Final = (
    *("cpu_us", "redis_us", "delivered", "delivery_p50", "delivery_p99"),
    *("answer_p50", "answer_p99"),
)
USERS_A_PROCESS: Final = 10_000


@dataclass(frozen=True)
class Goal:
    """At most so much; of a peer's figure, where one is named."""

    figure: str
    at_most: float
    peer: Contender | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    title: str
    measure: Callable[[Running, float], Figures]
    figures: Sequence[str]
    contenders: Sequence[Contender] = CONTENDERS
    processes: int = 1
    goals: Sequence[Goal] = field(default=())
    seconds: float = 4.0
    #: For those that are compared most closely (MAIN); the others are measured once.
    rounds: int = 3

    def competing(self) -> list[Contender]:
        return [each for each in self.contenders if each.spreads or self.processes == 1]


class Unsound(Exception):
    """Something was lost, doubled or refused: what it cost says nothing."""


def _figures(report: Mapping[str, Any]) -> Figures:
    faults = {
        name: report[name]
        for name in ("lost", "unanswered", "doubled", "refused", "lost_connections")
        if report[name]
    }
    if faults:
        raise Unsound(", ".join(f"{name}: {value}" for name, value in faults.items()))
    server, store = report["costs"]["server"], report["costs"]["redis"]
    return {
        "cpu_us": server["cpu_us_a_delivery"],
        "redis_us": store["cpu_us_a_delivery"],
        "delivered": report["delivered_a_second"],
        "delivery_p50": report["delivery_ms"]["p50"],
        "delivery_p99": report["delivery_ms"]["p99"],
        "answer_p50": report["answer_ms"]["p50"],
        "answer_p99": report["answer_ms"]["p99"],
        "connect_cpu_ms": server["cpu_ms_a_connect"],
        "connect_p99": report["connect_ms"]["p99"],
        "rss_kib": server["rss_kib_a_connection"],
        "idle_share": server["cpu_share"],
        "generator_share": report["generator_share"],
    }


def _loaded(**options: float) -> Callable[[Running, float], Figures]:
    """200 users, 50 senders, 4 messages under way for each, unless said otherwise."""

    def measure(running: Running, seconds: float) -> Figures:
        return _figures(load(running, {"seconds": seconds, **options}))

    return measure


def _among(users: int) -> Callable[[Running, float], Figures]:
    """One recipient, with so many users online: beyond what a process may open, on another one."""

    def measure(running: Running, seconds: float) -> Figures:
        busy = Running(
            running.contender,
            running.ports[:1],
            running.process_ids[:1],
            running.redis_url,
            running.redis_process_id,
            running.environment,
        )
        here = min(users, USERS_A_PROCESS)
        with online(running, running.urls[-1], users - here):
            return _figures(load(busy, {"seconds": seconds, "users": here}))

    return measure


def _as_cheap_as_node(figure: str = "cpu_us") -> tuple[Goal, ...]:
    return Goal(figure, 1.0, STREAMS_ADAPTER), Goal(figure, 1.0, REDIS_ADAPTER)


#: This gateway, and whom its goals name.
MAIN: Final = (GATEWAY, GATEWAY_SOCKETIO, REDIS_ADAPTER, STREAMS_ADAPTER)

_RECIPIENTS: Final = {1: {}, 10: {"recipients": 10}, 100: {"recipients": 100, "users": 2000}}

CASES: Final = (
    *(
        Case(
            name=f"to-{count}",
            title=f"{count} recipient{'s' * (count > 1)} a message",
            measure=_loaded(**options),
            figures=LOAD_FIGURES,
            goals=_as_cheap_as_node(),
        )
        for count, options in _RECIPIENTS.items()
    ),
    *(
        Case(
            name=f"across-{count}",
            title=f"the same, {count}, every recipient on another process",
            measure=_loaded(**options),
            figures=LOAD_FIGURES,
            processes=2,
            goals=_as_cheap_as_node(),
        )
        for count, options in _RECIPIENTS.items()
    ),
    *(
        Case(
            name=f"among-{users}",
            title=f"1 recipient, {users:,} users online",
            measure=_among(users),
            figures=("cpu_us", "redis_us"),
            processes=1 if users <= USERS_A_PROCESS else 2,
            contenders=(GATEWAY, REDIS_ADAPTER),
        )
        for users in (200, 2_000, 20_000)
    ),
    Case(
        name="idle",
        title="5,000 connections, idle",
        measure=_loaded(users=5_000, senders=0, warmup=5, connecting=100),
        figures=("rss_kib", "idle_share"),
        contenders=CONTENDERS[:8],
        goals=(Goal("rss_kib", 30), Goal("idle_share", 0.05)),
        seconds=15,
        rounds=1,
    ),
    Case(
        name="storm",
        title="5,000 connect and authenticate",
        measure=_loaded(users=5_000, senders=0, warmup=0, connecting=200),
        figures=("connect_cpu_ms", "connect_p99"),
        contenders=CONTENDERS[:8],
        goals=(Goal("connect_cpu_ms", 1.0, REDIS_ADAPTER),),
        seconds=1,
    ),
    Case(
        name="status",
        title="one user with 1,000 online friends comes and goes",
        measure=status.measure,
        figures=("transition_cpu_ms",),
        contenders=(GATEWAY, GATEWAY_SOCKETIO),
        goals=(Goal("transition_cpu_ms", 10),),
    ),
    Case(
        name="rate",
        title="2,000 messages a second to 10 recipients each",
        measure=_loaded(rate=2_000, recipients=10),
        figures=("delivery_p50", "delivery_p99", "cpu_us", "answer_p99"),
        goals=(Goal("delivery_p99", 2),),
    ),
    Case(
        name="lone",
        title="a lone message",
        measure=_loaded(rate=50, users=2, senders=1),
        figures=("delivery_p50", "delivery_p99"),
        goals=(Goal("delivery_p50", 1), Goal("delivery_p99", 3)),
        seconds=12,
        rounds=1,
    ),
)
