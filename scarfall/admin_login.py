"""The admin's login form: so many wrong passwords, and then none is looked at for a while."""

from __future__ import annotations

import math
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from gateways import metrics
from gateways.domain.logins import Attempt, LocalLogins
from gateways.store.limits import Rate

log = structlog.get_logger(__name__)

_here = LocalLogins()


class LoginForm(AuthenticationForm):
    """Counted by all processes together. While the store is away, this one counts by itself: that
    is when operators need the admin most, and no reason to let anybody guess.
    """

    def clean(self) -> dict[str, Any]:
        # The form is named in settings: this is imported before there is an admin to register at.
        from services_registry.admin.gateways import Unknown, ask  # noqa: PLC0415

        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if settings.RATE_LIMITS == "off" or name is None or not password:
            return self._checked()
        attempt = Attempt(self.request.META.get("REMOTE_ADDR", ""), name)
        try:
            wait = ask(self.request, lambda gateway: gateway.logins.take(attempt))
            counted = True
        except Unknown:
            wait = _here.take(attempt, Rate(*settings.LIMIT_ADMIN_LOGINS))
            counted = False
        if wait:
            metrics.rate_limited.add("admin_logins")
            # Not the name: some type their password there.
            log.warning("admin login refused", address=attempt.address, wait_seconds=wait)
            raise ValidationError(_refusal(wait), code="too_many")
        cleaned = self._checked()
        if counted:
            self._put_back(attempt)
        return cleaned

    def _checked(self) -> dict[str, Any]:
        """Raises ValidationError where the password is wrong."""
        cleaned: dict[str, Any] = super().clean()
        return cleaned

    def _put_back(self, attempt: Attempt) -> None:
        from services_registry.admin.gateways import Unknown, ask  # noqa: PLC0415

        try:
            ask(self.request, lambda gateway: gateway.logins.put_back(attempt))
        except Unknown:
            log.warning("a right password counts as a wrong one", address=attempt.address)


def _refusal(wait_seconds: float) -> str:
    if wait_seconds <= 90:
        again = f"{math.ceil(wait_seconds)} seconds"
    else:
        again = f"{math.ceil(wait_seconds / 60)} minutes"
    return f"Too many wrong passwords came from your address. Try again in {again}."
