from tests.e2e.conftest import deploy, deployment, fragile, name
from tests.socketio.conftest import node

__all__ = ["deploy", "deployment", "fragile", "name", "node"]
