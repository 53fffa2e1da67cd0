"""What operators see of the registry, and do to it. Every write goes through services.py."""

from services_registry.admin import audit, operators, service

__all__ = ("audit", "operators", "service")
