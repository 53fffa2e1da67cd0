"""A gateway process, as scarfall/supervisor.py starts it.

python -m scarfall.gateway_process {user|internal} LISTENING_DESCRIPTOR LIFELINE_DESCRIPTOR
"""

import os
import socket
import sys


def main() -> None:
    gateway, listening_descriptor, lifeline_descriptor = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scarfall.settings")

    from gateways.server.worker import run
    from scarfall import asgi

    application = {"user": asgi.user_application, "internal": asgi.internal_application}[gateway]
    run(application, socket.socket(fileno=int(listening_descriptor)), int(lifeline_descriptor))


if __name__ == "__main__":
    main()
