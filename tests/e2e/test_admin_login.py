"""The admin's login: how often it may be tried, by whom, and what an operator still can when."""

import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest

from tests.e2e.conftest import Deploy
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.valkey import Valkey

OPERATOR, PASSWORD = "olga", "a password that only olga knows"
REFUSED = "Too many wrong passwords came from your address. Try again in "
WRONG = "Please enter the correct username and password"
TRIES = 3
PROXY = "127.0.0.9"


#: An address that nobody has tried from yet.
Address = Callable[[], str]


@pytest.fixture(scope="module")
def address() -> Address:
    numbers = itertools.count(1)
    return lambda: f"127.1.0.{next(numbers)}"


def operated(gateway: GatewayProcess) -> GatewayProcess:
    gateway.manage("createsuperuser", "--noinput", "--username", OPERATOR, "--email", "o@x.org")
    return gateway


@pytest.fixture(scope="module")
def pair(
    deploy: Deploy, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GatewayProcess, GatewayProcess]:
    """Two machines' internal gateways, on one database."""
    deployment = deploy(
        DATABASE_URL=f"sqlite:///{tmp_path_factory.mktemp('database')}/db.sqlite3",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        LIMIT_ADMIN_LOGINS=f"{TRIES}/3600",
        TRUSTED_PROXIES=PROXY,
    )
    first = deployment.start("internal")
    return operated(first), deployment.start("internal")


@pytest.fixture
def alone(fragile: Deployment, tmp_path: object) -> Iterator[GatewayProcess]:
    """One whose store the test may take away."""
    fragile.variables |= {
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "LIMIT_ADMIN_LOGINS": f"{TRIES}/3600",
        "REDIS_TIMEOUT": "1",
    }
    yield operated(fragile.start("internal"))
    os.kill(fragile.valkey.process.pid, signal.SIGCONT)


def log_in(
    gateway: GatewayProcess, name: str, password: str, *, by: str = "127.0.0.1", **headers: str
) -> str:
    """What the page says; "in" where it lets one in."""
    http = HTTPConnection("127.0.0.1", gateway.internal_port, timeout=15, source_address=(by, 0))
    try:
        http.request("GET", "/admin/login/", headers=headers)
        answer = http.getresponse()
        cookie = (answer.headers["set-cookie"] or "").split(";")[0]
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.read().decode())
        assert token is not None
        form = {"csrfmiddlewaretoken": token[1], "username": name, "password": password}
        headers |= {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
        http.request("POST", "/admin/login/?next=/admin/", urlencode(form), headers)
        answer = http.getresponse()
        body = answer.read().decode()
        return "in" if answer.status == 302 else body
    finally:
        http.close()


def test_wrong_passwords_are_counted_by_all_processes(
    pair: tuple[GatewayProcess, GatewayProcess], address: Address
) -> None:
    (first, second), here = pair, address()
    for gateway in (first, second, first):
        assert WRONG in log_in(gateway, OPERATOR, "a guess", by=here)
    for gateway in pair:
        page = log_in(gateway, OPERATOR, "a guess", by=here)
        assert re.search(rf"{REFUSED}\d+ minutes\.", page)
        # Nor the right one: the refusal must not tell which one it is.
        assert REFUSED in log_in(gateway, OPERATOR, PASSWORD, by=here)
    assert "admin login refused" in first.logs()
    assert PASSWORD not in first.logs()


@pytest.mark.parametrize("spelled", ["OLGA", " olga ", "Olga", "olga\u3000", "\uff4flga"])
def test_another_spelling_of_a_name_is_the_same_name(
    pair: tuple[GatewayProcess, GatewayProcess], address: Address, spelled: str
) -> None:
    (first, _), here = pair, address()
    for _ in range(TRIES):
        log_in(first, OPERATOR, "a guess", by=here)
    assert REFUSED in log_in(first, spelled, "a guess", by=here)


def test_many_names_do_not_help_an_address(
    pair: tuple[GatewayProcess, GatewayProcess], address: Address
) -> None:
    (first, _), here = pair, address()
    for number in range(5 * TRIES):
        assert WRONG in log_in(first, f"name-{number}", "a guess", by=here)
    assert REFUSED in log_in(first, "one-more", "a guess", by=here)
    assert log_in(first, OPERATOR, PASSWORD, by=address()) == "in"


def test_a_stranger_does_not_keep_an_operator_out(
    pair: tuple[GatewayProcess, GatewayProcess], address: Address
) -> None:
    (first, second), stranger = pair, address()
    for _ in range(TRIES + 1):
        page = log_in(first, OPERATOR, "a guess", by=stranger)
    assert REFUSED in page
    assert log_in(second, OPERATOR, PASSWORD, by=address()) == "in"
    # Behind a proxy that is named each has an address of their own; a stranger's word for one is
    # not believed.
    forwarded = {"x-forwarded-for": "192.0.2.7"}
    assert log_in(first, OPERATOR, PASSWORD, by=PROXY, **forwarded) == "in"
    assert REFUSED in log_in(first, OPERATOR, PASSWORD, by=stranger, **forwarded)


def test_right_passwords_cost_nothing(
    pair: tuple[GatewayProcess, GatewayProcess], address: Address
) -> None:
    (first, _), here = pair, address()
    for _ in range(2 * TRIES):
        assert log_in(first, OPERATOR, PASSWORD, by=here) == "in"
    assert WRONG in log_in(first, OPERATOR, "a guess", by=here)


def test_what_is_typed_for_a_name_is_not_kept(
    pair: tuple[GatewayProcess, GatewayProcess], address: Address, valkey: Valkey
) -> None:
    first, _ = pair
    for _ in range(TRIES + 1):
        log_in(first, "hunter2-the-password", "olga", by=address())
    with valkey.client() as redis:
        kept = [key.decode() for key in redis.scan_iter("*limit:login:*")]
    assert kept
    assert not [key for key in kept if "hunter2" in key]
    assert "hunter2" not in first.logs()


def test_without_its_store_a_process_counts_by_itself(
    alone: GatewayProcess, fragile: Deployment
) -> None:
    os.kill(fragile.valkey.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert log_in(alone, OPERATOR, PASSWORD) == "in"
    # Two calls of the store at most, of REDIS_TIMEOUT each.
    assert time.monotonic() - began < 8
    for _ in range(TRIES - 1):
        assert WRONG in log_in(alone, OPERATOR, "a guess")
    assert REFUSED in log_in(alone, OPERATOR, PASSWORD)
    assert log_in(alone, OPERATOR, PASSWORD, by="127.0.0.2") == "in"


def test_off_is_off(deploy: Deploy, tmp_path: object) -> None:
    gateway = operated(
        deploy(
            DATABASE_URL=f"sqlite:///{tmp_path}/db.sqlite3",
            DJANGO_SUPERUSER_PASSWORD=PASSWORD,
            LIMIT_ADMIN_LOGINS="1/3600",
            RATE_LIMITS="off",
        ).start("internal")
    )
    for _ in range(3):
        assert WRONG in log_in(gateway, OPERATOR, "a guess")
    assert log_in(gateway, OPERATOR, PASSWORD) == "in"
