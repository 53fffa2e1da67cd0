from django.apps import AppConfig


class GatewaysConfig(AppConfig):
    name = "gateways"
    verbose_name = "Gateways"

    def ready(self) -> None:
        from scarfall import checks  # noqa: F401, PLC0415  # registers them, once settings are read
