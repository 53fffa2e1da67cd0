from tests.e2e.conftest import deploy, deployment, fragile, name

__all__ = ["deploy", "deployment", "fragile", "name"]
