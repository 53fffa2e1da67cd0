"""What surrounds the gateways goes wrong: their clocks, the database."""

import asyncio
import sqlite3
import time
from datetime import datetime
from pathlib import Path

from tests.e2e.client import dial, dial_as, dial_service, eventually
from tests.e2e.gateways import Deployment
from tests.faults.conftest import VARIABLES, befriend
from tests.faults.load import load
from tests.valkey import running_valkey

SHIFTED = """
import datetime, time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 10**9

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds={seconds})

datetime.datetime = Shifted
"""
#: Less than the load's tokens last.
MOVED_SECONDS = 1500
HERALD_KEY = "a key that only herald knows"


async def test_the_clocks_of_the_gateways_are_wrong(tmp_path: Path) -> None:
    """One is ahead, one behind; leases, order, history and presence go by the store's."""
    with running_valkey() as valkey:
        deployment = Deployment(valkey, tmp_path, **VARIABLES)
        try:
            for name, seconds in (("ahead", MOVED_SECONDS), ("behind", -MOVED_SECONDS)):
                (tmp_path / name).mkdir()
                (tmp_path / name / "sitecustomize.py").write_text(SHIFTED.format(seconds=seconds))
            ahead, behind = [
                await asyncio.to_thread(deployment.start, PYTHONPATH=str(tmp_path / name))
                for name in ("ahead", "behind")
            ]
            befriend(deployment)
            alice = await dial_as(ahead.url, "alice")
            (connected,) = alice.seen("connected")
            its_time = datetime.fromisoformat(connected["timestamp"]).timestamp()
            assert its_time - time.time() > MOVED_SECONDS - 60, "the clock is not moved"
            async with load([ahead.url, behind.url]) as at_work:
                await at_work.progress(400)
                # Past a lease, with sessions that come and go.
                await asyncio.to_thread(ahead.stop)
                await at_work.progress(400)
                record = await at_work.finish()
                assert record.faults() == []
                assert record.refusals["unavailable"] == 0
        finally:
            await asyncio.to_thread(deployment.stop)


async def test_the_database_is_locked(tmp_path: Path) -> None:
    """Messaging goes on; a service that asks to be let in is told to come back, in time."""
    with running_valkey() as valkey:
        deployment = Deployment(
            valkey,
            tmp_path,
            CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news",
            DATABASE_URL=f"sqlite:///{tmp_path}/db.sqlite3",
            **VARIABLES,
        )
        deployment.logs_stay_clean = False
        try:
            gateway, other = await asyncio.to_thread(deployment.start_pair, "all")
            befriend(deployment)
            herald = await dial_service(gateway.internal_url, "herald", HERALD_KEY)
            bob = await dial_as(gateway.url, "bob")
            database = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
            async with load([gateway.url, other.url]) as at_work:
                await at_work.progress(100)
                database.execute("PRAGMA locking_mode=EXCLUSIVE")
                database.execute("BEGIN EXCLUSIVE")
                late = await dial(gateway.internal_url)
                registration = {
                    "serviceName": "late",
                    "serviceKey": "long enough",
                    "serviceType": "news",
                    "description": "",
                }
                begun = time.monotonic()
                asked = asyncio.create_task(late.request("register_service", registration))
                alice = await dial_as(gateway.url, "alice")
                for number in range(20):
                    sender = (alice, herald)[number % 2]
                    receipt = await sender.message("bob", str(number))
                    assert receipt["recipients"]["sent"] == ["bob"]
                assert await bob.texts(20) == [str(number) for number in range(20)]
                reply = await asked
                assert (reply["code"], reply["retryAfterMs"] > 0) == ("unavailable", True)
                assert time.monotonic() - begun < 10
                await at_work.progress(200)
                record = await at_work.finish()
                assert record.refusals == {}
                assert record.faults() == []
            database.execute("ROLLBACK")
            database.close()

            async def registered() -> bool:
                reply = await late.request("register_service", registration)
                return bool(reply["status"] == "success")

            await eventually(registered, "the registration")
        finally:
            await asyncio.to_thread(deployment.stop)
