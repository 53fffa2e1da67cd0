"""What a process imports: every start pays for it, and for what it does not need as well."""

import subprocess
import sys

from django.core.checks import run_checks
from django.core.checks.urls import check_resolver
from django.urls import get_resolver

from scarfall import urls_internal

#: The admin's pages and what only they need, and what structlog would like.
NOT_OF_A_USER_GATEWAY = {
    "django.contrib.postgres",
    "gateways.admin",
    "psycopg",
    "rich",
    "services_registry.admin",
    "twisted",
    "unfold.admin",
}


def test_a_user_gateway_imports_no_page_of_the_admin() -> None:
    imported = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from scarfall import asgi, urls_user; print(*sys.modules)",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "gateways.consumers.user" in imported
    assert not NOT_OF_A_USER_GATEWAY & set(imported)


def test_settings_without_a_public_key_import_nothing_to_read_one() -> None:
    imported = subprocess.run(
        [sys.executable, "-c", "import sys; from tests import settings; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "scarfall.settings" in imported
    assert "jwt" not in imported


def test_the_pages_of_the_admin_are_sound() -> None:
    """`manage.py check` does not see them: the internal gateway's URLs have them registered."""
    assert run_checks(tags=["admin"]) == []
    assert check_resolver(get_resolver(urls_internal.__name__)) == []
