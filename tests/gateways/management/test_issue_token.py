import time

import jwt
import pytest
from django.conf import settings
from django.core.management.base import CommandError
from pytest_django.fixtures import Settings

from gateways.domain.tokens import TokenVerifier
from tests.gateways.management.conftest import Command


def claims(token: str) -> dict[str, object]:
    decoded: dict[str, object] = jwt.decode(token, str(settings.JWT_SECRET), algorithms=["HS256"])
    return decoded


async def test_the_gateway_takes_the_token(command: Command) -> None:
    token = command("issue_token", "alice", "--email", "a@example.org", "--scope", "a b").strip()
    identity = await TokenVerifier().verify(token)
    assert identity.user_id == "alice"
    assert identity.email == "a@example.org"
    assert identity.scope == {"a", "b"}


def test_it_lasts_as_configured_or_as_asked(command: Command) -> None:
    now = time.time()
    assert claims(command("issue_token", "alice").strip())["exp"] == pytest.approx(
        now + 86400, abs=5
    )
    short = command("issue_token", "alice", "--expires", "30m").strip()
    assert claims(short)["exp"] == pytest.approx(now + 1800, abs=5)


@pytest.mark.parametrize("user", ["", "a" * 129, "a\nb", "\udcff"])
def test_what_is_no_user_id_is_refused(command: Command, user: str) -> None:
    with pytest.raises(CommandError, match="is no user id"):
        command("issue_token", user)


def test_what_is_no_duration_is_refused(command: Command) -> None:
    with pytest.raises(CommandError, match="--expires: got 'soon'; expected a duration such as"):
        command("issue_token", "alice", "--expires", "soon")


def test_without_a_key_to_sign_with_it_says_so(command: Command, settings: Settings) -> None:
    settings.JWT_ALGORITHM, settings.JWT_SECRET = "RS256", None
    with pytest.raises(CommandError, match="RS256: this machine checks tokens"):
        command("issue_token", "alice")
