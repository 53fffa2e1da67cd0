"""Services that the deployment itself names: CUSTOM_SERVICES, and the demo service under DEBUG."""

from typing import Final

from django.conf import settings

from services_registry import services
from services_registry.errors import InvalidService
from services_registry.models import Service

DEMO_NAME: Final = "demo"
DEMO_KEY: Final = "demo-service-key"


def synchronise() -> None:
    """Bring the environment's services into the table. Idempotent, at each boot, and quick where
    nothing changed there.

    One that the environment names no longer stays: other machines may still name it, and whether it
    goes is for an operator to say. Raises InvalidService for one that can't be.
    """
    for given in settings.CUSTOM_SERVICES:
        if (given.name, given.key) == (DEMO_NAME, DEMO_KEY) and not settings.DEBUG:
            raise InvalidService(
                f"{DEMO_NAME}: everybody knows this key; it works under DEBUG only"
            )
        services.bring_in(
            given.name, given.key, service_type=given.type, description=given.description
        )
    if all(given.name != DEMO_NAME for given in settings.CUSTOM_SERVICES):
        _synchronise_demo()


def _synchronise_demo() -> None:
    demo = Service.objects.filter(name=DEMO_NAME).first()
    if demo is not None and not demo.environment_digest:
        return  # Somebody else's, who chose the same name.
    if settings.DEBUG:
        services.bring_in(
            DEMO_NAME,
            DEMO_KEY,
            service_type="demo",
            description="For trying things out. It exists only under DEBUG.",
        )
    elif demo is not None:
        services.delete(DEMO_NAME, services.ENVIRONMENT)
