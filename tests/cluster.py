"""A Valkey Cluster of the tests' own, and a primary with replicas under Sentinels."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import redis

from tests.valkey import Valkey, free_port, running_valkey
from tests.waiting import wait_until

#: How long a primary is away before the others take it for dead, in ms.
NODE_TIMEOUT_MS = 1500
SLOTS = 16384
SERVICE = "players"


@dataclass
class Cluster:
    """Three primaries, each with a replica."""

    nodes: list[Valkey]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://{hosts}"

    def client(self) -> "redis.RedisCluster":
        return redis.RedisCluster(host="127.0.0.1", port=self.alive[0].port)

    @property
    def alive(self) -> list[Valkey]:
        return [node for node in self.nodes if node.process.poll() is None]

    def primary_of(self, key: str) -> Valkey:
        with self.client() as client:
            port = client.get_node_from_key(key).port
        return next(node for node in self.nodes if node.port == port)

    def replicas(self) -> list[Valkey]:
        return [node for node in self.alive if _role(node) == "slave"]


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                running_valkey(
                    "cluster-enabled yes",
                    f"cluster-port {free_port()}",
                    f"cluster-node-timeout {NODE_TIMEOUT_MS}",
                    "cluster-replica-validity-factor 0",
                    "cluster-require-full-coverage no",
                )
            )
            for _ in range(6)
        ]
        _join(nodes)
        yield Cluster(nodes)


def _join(nodes: Sequence[Valkey]) -> None:
    primaries, replicas = nodes[:3], nodes[3:]
    bounds = [number * SLOTS // len(primaries) for number in range(len(primaries) + 1)]
    ids: list[str] = []
    for node, first, end in zip(primaries, bounds, bounds[1:], strict=False):
        with node.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", len(ids) + 1)
            ids.append(client.execute_command("CLUSTER", "MYID"))
    with nodes[0].client() as client:
        bus = str(client.config_get("cluster-port")["cluster-port"])
    for node in nodes[1:]:
        with node.client() as client:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus)
    wait_until(
        lambda: all(_info(node)["cluster_known_nodes"] == "6" for node in nodes), "a cluster"
    )
    for node, primary_id in zip(replicas, ids, strict=True):
        with node.client() as client:
            client.execute_command("CLUSTER", "REPLICATE", primary_id)
    wait_until(lambda: all(_info(node)["cluster_state"] == "ok" for node in nodes), "its slots")
    wait_until(lambda: all(_synchronised(node) for node in replicas), "its replicas")


@dataclass
class Watched:
    """A primary, its replicas, and three Sentinels that watch it."""

    nodes: list[Valkey]
    sentinels: list[Valkey]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Valkey:
        return next(
            node for node in self.nodes if node.process.poll() is None and _role(node) == "master"
        )

    def client(self) -> "redis.Redis":
        return self.primary.client()


@contextmanager
def running_sentinels() -> Iterator[Watched]:
    with ExitStack() as stack:
        primary = stack.enter_context(running_valkey())
        replicas = [
            stack.enter_context(running_valkey(f"replicaof 127.0.0.1 {primary.port}"))
            for _ in range(2)
        ]
        wait_until(lambda: all(_synchronised(node) for node in replicas), "the replicas")
        watch = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {NODE_TIMEOUT_MS}",
            f"sentinel failover-timeout {SERVICE} 10000",
        )
        sentinels = [stack.enter_context(running_valkey(*watch, sentinel=True)) for _ in range(3)]
        wait_until(lambda: all(_watches(sentinel) for sentinel in sentinels), "the Sentinels")
        yield Watched([primary, *replicas], sentinels)


def _info(node: Valkey) -> dict[str, str]:
    with node.client() as client:
        text: bytes | str = client.execute_command("CLUSTER", "INFO")
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    return dict(line.partition(":")[::2] for line in lines)


def _role(node: Valkey) -> str:
    with node.client() as client:
        return str(client.info("replication")["role"])


def _synchronised(node: Valkey) -> bool:
    with node.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def _watches(sentinel: Valkey) -> bool:
    with sentinel.client() as client:
        state = client.sentinel_master(SERVICE)
    return bool(state["num-slaves"] == 2 and state["num-other-sentinels"] == 2)
