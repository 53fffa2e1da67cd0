"""The chat against a real gateway process: through pipes, and at a terminal."""

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from gateways.management.chat.screen import INDENT
from tests.e2e.client import connect_as
from tests.e2e.conftest import Name
from tests.e2e.gateways import ROOT, Deployment
from tests.gateways.management.conftest import Manage
from tests.valkey import free_port

WAIT_SECONDS = 20


class Terminal:
    """A chat at a pseudo-terminal of its own, and what it showed there."""

    def __init__(self, manage: Manage, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        self.process = subprocess.Popen(
            [*manage.command, "chat", *arguments],
            cwd=ROOT,
            env={**manage.gateway.environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, text: str) -> None:
        """Wait until it shows this text after what was waited for before."""
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self._shown:
            assert time.monotonic() < deadline, f"no {text!r} in {self._shown!r}"
            self._read()
        self._shown = self._shown.partition(text)[2]

    def left(self) -> int:
        """The exit code. Whatever it still shows is read, or it would wait for its reader."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self._shown
            self._read()
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self) -> None:
        if not select.select([self._master], [], [], 0.1)[0]:
            return
        try:
            read = os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # its other end is closed
            return
        if "\x1b[6n" in read:
            self.type("\x1b[1;1R")  # as a terminal says where its cursor is
        self._shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read)


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(manage: Manage) -> Iterator[OpenTerminal]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, on: Manage = manage) -> Terminal:
        opened.append(Terminal(on, *arguments))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def test_piped_lines_are_said_and_answered(manage: Manage, name: Name) -> None:
    alice, bob, carol = name("alice"), name("bob"), name("carol")
    given = f"@{bob},{carol} hi\n@{bob}\nagain\n{carol}: you\n/who\n/sessions\n/help\n/quit\nno\n"
    ended = manage.run("chat", alice, given=given)
    assert ended.returncode == 0, ended.stderr
    assert (
        f"{alice} → {bob}, {carol}  hi\n      … {bob}, {carol} (away: queued for later)"
        in ended.stdout
    )
    assert f"{alice} → {bob}  again\n      … {bob} (away" in ended.stdout
    assert f"{alice} → {carol}  you\n" in ended.stdout
    assert re.search(rf"\d online: .*{alice}", ended.stdout)
    assert "(this one)" in ended.stdout
    assert "leave; Ctrl-D does it too" in ended.stdout.splitlines()[-1]

    ended = manage.run("chat", bob)
    assert ended.returncode == 0, ended.stderr
    *_, count, first, second = ended.stdout.splitlines()
    assert count.strip() == "2 messages came while you were away:"
    assert first.endswith(f" {alice}  hi")
    assert second.endswith(f" {alice}  again")
    assert "\x1b" not in ended.stdout


def test_a_word_and_a_colon_are_an_address_only_of_who_is_known(manage: Manage, name: Name) -> None:
    alice, bob = name("alice"), name("bob")
    out = manage.run("chat", alice, given=f"{bob}: hello\nnote: buy milk\n").stdout
    assert f"{alice} → {bob}  hello\n" in out
    assert f"{alice} → {bob}  note: buy milk\n" in out


def test_friends_are_made_and_unmade_on_both_sides(manage: Manage, name: Name) -> None:
    alice, bob, carol = name("alice"), name("bob"), name("carol")
    given = f"/friends\n/friends {bob}, {carol}\n/unfriend {carol}\n"
    made = manage.run("chat", alice, given=given)
    assert "friends: nobody yet" in made.stdout
    assert f"friends: {bob}, {carol}\n" in made.stdout
    assert made.stdout.endswith(f"friends: {bob}\n")
    assert manage.run("chat", bob, given="/friends\n").stdout.endswith(f"friends: {alice}\n")
    assert "friends: nobody" in manage.run("chat", carol, given="/friends\n").stdout


def test_what_can_not_be_done_is_said_and_fails_a_pipe(manage: Manage, name: Name) -> None:
    complaints = {
        "hello": "To whom?",
        "/nonsense": "/nonsense is no command; /help lists them.",
        f"@{'b' * 129} hi": "is no user id",
        "@bob " + "x" * 70_000: "at most 65536 are taken",
        "@bob " + "x" * 1_000_000: "larger than a gateway reads",
    }
    ended = manage.run("chat", name("alice"), given="\n".join([*complaints, "/online\n"]))
    said = [line for line in ended.stdout.splitlines() if "✗" in line]
    for complaint, line in zip(complaints.values(), said, strict=False):
        assert complaint in line
    # The last of them cost the connection, and what follows is answered all the same.
    assert "friends online: none" in ended.stdout.splitlines()[-1]
    assert ended.returncode == 1


def test_without_a_gateway_it_says_what_to_type(manage: Manage) -> None:
    ended = manage.run("chat", "alice", "--url", f"ws://127.0.0.1:{free_port()}/ws")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "nobody listens there. Start one in another terminal: script/server" in line


def test_what_is_no_gateway_is_said(manage: Manage) -> None:
    ended = manage.run("chat", "alice", "--url", f"ws://127.0.0.1:{manage.gateway.port}/healthz")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "no WebSocket" in line


def test_a_token_that_is_not_taken_is_said(manage: Manage) -> None:
    ended = manage.run("chat", "alice", JWT_SECRET="another secret of 32 bytes or more")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "does not take alice" in line


async def test_what_a_user_sent_can_not_command_the_terminal(manage: Manage, name: Name) -> None:
    bob, mallory_id = name("bob"), name("mallory")
    async with connect_as(manage.gateway.url, mallory_id) as mallory:
        message = "red \x1b[31m\nsecond\x9b line"
        await mallory.request("send_message", {"recipientIds": [bob], "message": message})
    out = (await asyncio.to_thread(manage.run, "chat", bob)).stdout
    assert f"{mallory_id}  red \ufffd[31m\n      second\ufffd line\n" in out


def test_two_terminals_see_each_other_come_and_go(terminal: OpenTerminal, name: Name) -> None:
    alice_id, bob_id = name("alice"), name("bob")
    alice = terminal(alice_id, "--friends", bob_id)
    alice.until(f"You are {alice_id}.")
    bob = terminal(bob_id, "--friends", alice_id)
    bob.until(f"friends online: {alice_id}")
    alice.until(f"{bob_id} is online")

    alice.type("hello bob\r")
    alice.until(f"✓ {bob_id}")
    bob.until(f"{alice_id}  hello bob")
    bob.type("hello alice\r")
    bob.until(f"✓ {alice_id}")
    alice.until(f"{bob_id}  hello alice")

    bob.type("\x04")
    assert bob.left() == 0
    alice.until(f"{bob_id} is offline")
    alice.type("gone?\r")
    alice.until(f"… {bob_id} (away: queued for later)")
    alice.type("/quit\r")
    assert alice.left() == 0


def test_the_first_interrupt_clears_the_line_and_the_second_leaves(
    terminal: OpenTerminal, name: Name
) -> None:
    alice = terminal(name("alice"))
    # The toolbar says it too; only an answer stands on a line of its own, indented.
    answer = f"{INDENT}friends online: none"
    alice.until("You are ")
    alice.until(answer)
    alice.type("half a line")
    alice.until("half a line")
    alice.type("\x03")
    alice.type("/online\r")
    alice.until(answer)
    alice.until(" >")  # between two prompts nobody reads
    alice.type("\x03")
    assert alice.left() == 0


def test_it_outlives_its_gateway_and_loses_nothing(
    terminal: OpenTerminal, deployment: Deployment
) -> None:
    gateway = deployment.start()
    alice = terminal("alice", "--friends", "bob", on=Manage(gateway))
    bob = terminal("bob", "--friends", "alice", on=Manage(gateway))
    alice.until("You are alice.")
    bob.until("You are bob.")

    os.kill(gateway.node_pid, signal.SIGKILL)
    gateway.process.kill()
    alice.until("disconnected")
    bob.until("disconnected")
    alice.type("are you there?\r")
    alice.until("kept until the connection is back")
    deployment.start(PORT=str(gateway.port))

    alice.until("connected again, nothing was lost")
    alice.until("are you there?")
    bob.until("alice  are you there?")


async def test_it_ends_where_another_session_ends_it(
    terminal: OpenTerminal, manage: Manage, name: Name
) -> None:
    alice_id = name("alice")
    alice = terminal(alice_id)
    alice.until(f"You are {alice_id}.")
    async with connect_as(manage.gateway.url, alice_id) as other:
        sessions = (await other.request("get_sessions"))["sessions"]
        (session_id,) = [one["sessionId"] for one in sessions if not one["current"]]
        await other.request("close_session", {"sessionId": session_id})
        alice.until("The gateway ended the connection: Closed from another session.")
        assert alice.left() == 1
