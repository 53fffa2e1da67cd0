"""Requests to the gateways' Django, without a server."""

from typing import Any

from django.test import AsyncClient


class GatewayClient(AsyncClient):
    """A browser at the gateway "user" or "internal"; `scope`: what scarfall/asgi.py adds."""

    def __init__(self, gateway: str, scope: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._added = {"gateway": gateway, **(scope or {})}

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        return {**super()._base_scope(**request), **self._added}  # type: ignore[misc]
