"""Services that the deployment itself names: CUSTOM_SERVICES, and the demo service under DEBUG."""

from contextlib import suppress
from typing import Final

from django.conf import settings

from services_registry import keys, services
from services_registry.errors import InvalidService, UnknownService
from services_registry.models import Service

DEMO_NAME: Final = "demo"
DEMO_KEY: Final = "demo-service-key"


def synchronise() -> None:
    """Bring the environment's services into the table. Idempotent, at each boot, and quick where
    nothing changed there.

    One that the environment names no longer stays: other machines may still name it, and whether it
    goes is for an operator to say. Only the demo service with the key that everybody knows goes.
    Raises InvalidService for one that can't be.
    """
    for given in settings.CUSTOM_SERVICES:
        if (given.name, given.key) == (DEMO_NAME, DEMO_KEY) and not settings.DEBUG:
            raise InvalidService(
                f"{DEMO_NAME}: everybody knows this key; it works under DEBUG only"
            )
        try:
            services.bring_in(
                given.name, given.key, service_type=given.type, description=given.description
            )
        except InvalidService as error:
            raise InvalidService(f"{given.name}: {error}") from None
    if all(given.name != DEMO_NAME for given in settings.CUSTOM_SERVICES):
        _synchronise_demo()


def _synchronise_demo() -> None:
    demo = Service.objects.filter(name=DEMO_NAME).first()
    if demo is not None and not _is_everybodys(demo):
        return  # Somebody else's, who chose the same name.
    if settings.DEBUG:
        services.bring_in(
            DEMO_NAME,
            DEMO_KEY,
            service_type="demo",
            description="For trying things out. It exists only under DEBUG.",
        )
    elif demo is not None:
        with suppress(UnknownService):  # Another process was quicker.
            services.delete(DEMO_NAME, services.ENVIRONMENT)


def _is_everybodys(demo: Service) -> bool:
    """Whether the environment gave it the known key last, or that still fits. Slow where not."""
    if not demo.environment_digest:
        return False
    if demo.environment_digest == keys.environment_digest(DEMO_NAME, DEMO_KEY):
        return True
    hashes = (demo.environment_key_hash, *demo.key_hashes)
    return keys.first_fitting(DEMO_KEY, hashes) is not None
