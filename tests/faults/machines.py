"""Two machines on one: network namespaces, each with a link to this one, where the store and the
clients are (ip-netns(8), veth(4)).
"""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """`address` is the machine's own, `here` this one's at the other end of its link."""

    namespace: str
    link: str
    address: str
    here: str

    @property
    def inside(self) -> list[str]:
        """What runs a command there."""
        return ["ip", "netns", "exec", self.namespace]

    def cut_off(self) -> None:
        """The cable is pulled: nothing gets through, and nobody is told."""
        _ip("link", "set", self.link, "down")

    def heal(self) -> None:
        _ip("link", "set", self.link, "up")


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Needs root."""
    name = f"sf{secrets.token_hex(3)}"
    network = f"10.{secrets.randbelow(156) + 100}"
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                _machine(
                    Machine(f"{name}-{n}", f"{name}{n}", f"{network}.{n}.2", f"{network}.{n}.1")
                )
            )
            for n in range(count)
        ]


@contextmanager
def _machine(machine: Machine) -> Iterator[Machine]:
    _ip("netns", "add", machine.namespace)
    try:
        there = ("netns", machine.namespace)
        _ip("link", "add", machine.link, "type", "veth", "peer", "name", "eth0", *there)
        _ip("addr", "add", f"{machine.here}/24", "dev", machine.link)
        _ip("link", "set", machine.link, "up")
        _ip("-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", "eth0")
        _ip("-n", machine.namespace, "link", "set", "eth0", "up")
        _ip("-n", machine.namespace, "link", "set", "lo", "up")
        yield machine
    finally:
        _ip("netns", "delete", machine.namespace)  # and its link


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
