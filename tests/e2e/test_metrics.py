"""What `/metrics` says of several processes, and what a real Prometheus makes of it."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateways.metrics import Metric
from tests.deploy import monitoring
from tests.e2e.client import connect, connect_as, connect_service, eventually
from tests.e2e.conftest import HERALD_KEY, Deploy, Name
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.prometheus import PROMTOOL, running_prometheus
from tests.waiting import wait_until

Labels = frozenset[tuple[str, str]]


class Scrape:
    """The samples of one answer."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in self.families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} twice, which Prometheus refuses"
                self.samples[key] = sample.value

    def total(self, metric: str, **labels: str) -> float:
        """Over all processes."""
        return sum(
            value
            for (name, having), value in self.samples.items()
            if name == metric and labels.items() <= dict(having).items()
        )


def scrape(gateway: GatewayProcess) -> Scrape:
    status, text = gateway.get("/metrics", gateway.internal_port)
    assert status == 200
    return Scrape(text)


async def reaches(gateway: GatewayProcess, metric: str, value: float, **labels: str) -> None:
    async def reached() -> bool:
        return (await asyncio.to_thread(scrape, gateway)).total(metric, **labels) == value

    await eventually(reached, f"{metric} {labels} to be {value}")


@pytest.fixture(scope="module")
def metered(deploy: Deploy) -> GatewayProcess:
    """Two processes of the user gateway, and the internal one. No test may harm them."""
    return deploy(
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news:Tells", OFFLINE_GRACE="0.2", WEB_CONCURRENCY="2"
    ).start("all")


Since = Callable[..., float]


@pytest.fixture
def since(metered: GatewayProcess) -> Since:
    """By how much a total has grown since the test began."""
    before = scrape(metered)

    def grown(metric: str, **labels: str) -> float:
        return scrape(metered).total(metric, **labels) - before.total(metric, **labels)

    return grown


def test_every_metric_is_shown_with_its_meaning(metered: GatewayProcess) -> None:
    shown = {family.name: family.documentation for family in scrape(metered).families}
    assert shown == {metric.name.removesuffix("_total"): metric.meaning for metric in Metric.all}


def test_promtool_has_nothing_to_say(metered: GatewayProcess) -> None:
    if PROMTOOL is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    _, text = metered.get("/metrics", metered.internal_port)
    subprocess.run([PROMTOOL, "check", "metrics"], input=text, text=True, check=True)


def test_each_process_speaks_for_itself(metered: GatewayProcess) -> None:
    found = scrape(metered)
    for process, gateway in (("user-1", "user"), ("user-2", "user"), ("internal", "internal")):
        assert found.total("scarfall_process_up", process=process, gateway=gateway) == 1
        assert found.total("scarfall_process_resident_memory_bytes", process=process) > 20e6
        assert 5 < found.total("scarfall_process_open_fds", process=process) < 100
        assert found.total("scarfall_process_cpu_seconds_total", process=process) > 0.1
        assert found.total("scarfall_lease_age_seconds", process=process) < 15
    assert found.total("scarfall_nodes") == 3
    assert found.total("scarfall_store_up") == 1


@pytest.mark.parametrize("process", ["user-1", "user-2", "internal"])
def test_its_event_loop_is_watched(metered: GatewayProcess, process: str) -> None:
    looks = "scarfall_event_loop_lag_seconds_count"
    wait_until(lambda: scrape(metered).total(looks, process=process) > 0, "a look")


async def test_messages_and_sessions_of_all_processes(
    metered: GatewayProcess, since: Since, name: Name
) -> None:
    alice, bob, carol = name("alice"), name("bob"), name("carol")
    async with connect_as(metered.url, alice) as sender, connect_as(metered.url, bob) as first:
        async with connect_as(metered.url, bob) as second:
            for number in range(5):
                await sender.message([bob, carol], f"{number}")
            await first.texts(5)
            await second.texts(5)
            now = scrape(metered)
            assert now.total("scarfall_connections") == 3
            assert now.total("scarfall_sessions") == 3
            assert now.total("scarfall_users_online") == 2
        assert since("scarfall_connections_opened_total") == 3
        assert since("scarfall_authentications_total", result="ok") == 3
        assert since("scarfall_requests_total", event="send_message") == 5
        assert since("scarfall_messages_accepted_total") == 5
        assert since("scarfall_message_recipients_total", outcome="sent") == 5
        assert since("scarfall_message_recipients_total", outcome="queued") == 5
        assert since("scarfall_messages_delivered_total") == 10
        # One for each process that had a session of bob's.
        assert 5 <= since("scarfall_delivery_seconds_count") <= 10
        assert 0 < since("scarfall_delivery_seconds_sum") < 5
        assert since("scarfall_store_seconds_count") > 5
        assert since("scarfall_store_calls_total") > since("scarfall_store_seconds_count")
        # Both processes tell of bob where his second session comes before the first was told of.
        assert 2 <= since("scarfall_presence_changes_total", status="online") <= 3
    async with connect(metered.url) as back:
        await back.authenticate(carol)
        await back.texts(5)
    assert since("scarfall_messages_recovered_total") == 5
    await reaches(metered, "scarfall_connections", 0)
    await reaches(metered, "scarfall_users_online", 0)


async def test_what_was_refused(metered: GatewayProcess, since: Since, name: Name) -> None:
    async with connect(metered.url) as client:
        assert (await client.request("send_message", {}))["code"] == "unauthenticated"
        await client.send("no JSON")
        await client.pushed("error")
        await client.request("authenticate", {"token": "no token"})
        assert await client.closed() == 4401
    assert since("scarfall_failures_total", code="unauthenticated") == 1
    assert since("scarfall_failures_total", code="invalid_frame") == 1
    assert since("scarfall_authentications_total", result="unauthenticated") == 1
    assert since("scarfall_closes_total", code="4401") == 1
    async with connect_service(metered.internal_url, "herald", HERALD_KEY) as service:
        assert since("scarfall_authentications_total", gateway="internal", result="ok") == 1
        assert scrape(metered).total("scarfall_service_sessions") == 1
        await service.request("get_friends", {"userId": name("alice")})
    assert since("scarfall_requests_total", event="get_friends") == 1


def test_what_a_client_invents_is_no_label(metered: GatewayProcess) -> None:
    async def invent() -> None:
        async with connect(metered.url) as client:
            await client.request("invented_by_a_client")

    asyncio.run(invent())
    assert "invented_by_a_client" not in metered.get("/metrics", metered.internal_port)[1]


async def test_a_limit_that_is_met(deploy: Deploy, name: Name) -> None:
    gateway = deploy(LIMIT_PRESENCE_QUERIES="2/60").start("all")
    async with connect_as(gateway.url, name("alice")) as client:
        for _ in range(3):
            await client.request("get_online_friends_only")
        found = scrape(gateway)
        assert found.total("scarfall_rate_limited_total", limit="presence_queries") == 1
        assert found.total("scarfall_failures_total", code="rate_limited") == 1


async def test_a_slow_reader(deploy: Deploy, name: Name) -> None:
    gateway = deploy(MAX_OUTBOUND_BYTES="600000").start("all")
    alice, bob = name("alice"), name("bob")
    async with connect_as(gateway.url, alice) as sender, connect_as(gateway.url, bob) as reader:
        reader.socket.transport.pause_reading()

        # The kernel takes some megabytes first.
        async def closed() -> bool:
            await sender.message(bob, "x" * 60_000)
            return scrape(gateway).total("scarfall_slow_consumer_closes_total") == 1

        async def waits() -> bool:
            await asyncio.gather(*[sender.message(bob, "x" * 60_000) for _ in range(4)])
            return scrape(gateway).total("scarfall_queue_bytes") > 60_000

        await eventually(waits, "bytes that wait")
        await eventually(closed, "the close")
        assert scrape(gateway).total("scarfall_closes_total", code="4508") == 1


def test_a_process_that_hangs_and_one_that_dies(deployment: Deployment) -> None:
    gateway = deployment.start("all", WEB_CONCURRENCY="2")
    first = gateway.node_pids[0]
    os.kill(first, signal.SIGSTOP)
    try:
        found = scrape(gateway)
        assert found.total("scarfall_process_up", process="user-1") == 0
        assert found.total("scarfall_process_up", process="user-2") == 1
        assert found.total("scarfall_sessions", process="user-1") == 0
        assert ("user-1", 0) not in [
            (dict(labels).get("process"), value)
            for (metric, labels), value in found.samples.items()
            if metric == "scarfall_process_cpu_seconds_total"
        ]
    finally:
        os.kill(first, signal.SIGKILL)
    wait_until(
        lambda: scrape(gateway).total("scarfall_process_up", process="user-1") == 1,
        "another process of the same name",
    )


def test_fewer_processes_than_before(deployment: Deployment) -> None:
    """A server that was killed leaves its sockets behind."""
    gateway = deployment.start("all", WEB_CONCURRENCY="3")
    pids = [gateway.process.pid, *gateway.node_pids]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    gateway.process.wait()
    again = deployment.start(
        "all",
        WEB_CONCURRENCY="2",
        DATA_DIR=gateway.environment["DATA_DIR"],
    )
    names = {
        dict(labels)["process"]
        for metric, labels in scrape(again).samples
        if metric == "scarfall_process_up"
    }
    assert names == {"user-1", "user-2", "internal"}


def test_a_store_that_does_not_answer(fragile: Deployment) -> None:
    gateway = fragile.start("all", REDIS_TIMEOUT="1")
    os.kill(fragile.valkey.process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: scrape(gateway).total("scarfall_store_up") == 0, "news of the store")
        found = scrape(gateway)
        assert found.total("scarfall_process_up") == 2
        assert not any(metric == "scarfall_users_online" for metric, _ in found.samples)
        wait_until(
            lambda: scrape(gateway).total("scarfall_store_failures_total") > 0, "a failure counted"
        )
    finally:
        os.kill(fragile.valkey.process.pid, signal.SIGCONT)
    wait_until(lambda: scrape(gateway).total("scarfall_store_up") == 1, "the store again")


async def test_a_node_that_died_is_counted_by_who_buried_it(
    deployment: Deployment, name: Name
) -> None:
    dead = deployment.start(NODE_LEASE="3")
    alive = deployment.start("all", NODE_LEASE="3")
    async with connect_as(dead.url, name("alice")):
        os.kill(dead.process.pid, signal.SIGKILL)
        os.kill(dead.node_pid, signal.SIGKILL) if dead.node_pids else None
        await reaches(alive, "scarfall_nodes_buried_total", 1)


def test_prometheus_takes_all_of_it(metered: GatewayProcess, tmp_path: Path) -> None:
    """Scraped as shipped, and asked whatever the dashboard and the alerts ask."""
    with running_prometheus(tmp_path, metered.internal_port) as prometheus:
        wait_until(lambda: bool(prometheus.query("up == 1")), "a scrape")
        (target,) = prometheus.query("up")
        assert target["metric"]["job"] == "scarfall"
        known = {metric.name for metric in Metric.all}
        for expression in [*monitoring.panels(), *monitoring.alerts()]:
            prometheus.query(monitoring.for_prometheus(expression))  # raises where it is wrong
        for metric in sorted(known - monitoring.ONLY_LATER):
            name = f"{metric}_count" if metric.endswith("_seconds") else metric
            assert prometheus.query(name) or prometheus.query(metric), metric
        groups = prometheus.get("/api/v1/rules")["groups"]
        assert sum(len(group["rules"]) for group in groups) == len(monitoring.alerts())
