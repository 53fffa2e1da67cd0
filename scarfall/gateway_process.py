"""A gateway process, as scarfall/supervisor.py starts it.

python -m scarfall.gateway_process {user|internal} LISTENING_DESCRIPTOR LIFELINE_DESCRIPTOR \
    [PROCESS BALANCE_DESCRIPTOR INBOX_DESCRIPTOR OUTBOX_DESCRIPTOR…]

The rest is there where several processes share the port: gateways/server/handover.py says what for.
"""

import faulthandler
import gc
import importlib
import os
import signal
import socket
import sys
from typing import Final

DUMP_SIGNAL: Final = signal.SIGUSR2


def main() -> None:
    # Until the server renews its certificate by it: a hang-up is no reason to die.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Where every thread stands, on stderr: after a crash in C, and for whoever asks.
    faulthandler.enable()
    faulthandler.register(DUMP_SIGNAL)
    gateway, listening_descriptor, lifeline_descriptor, *shared = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scarfall.settings")
    # What is imported stays: looking through it meanwhile is a tenth of the start's CPU.
    gc.disable()

    from django.conf import settings

    from gateways.server.balance import Balance
    from gateways.server.handover import Handover, prefix
    from gateways.server.worker import run
    from scarfall import asgi

    application = {"user": asgi.user_application, "internal": asgi.internal_application}[gateway]
    # Django would do so at the first request, for which every socket would wait.
    importlib.import_module(f"scarfall.urls_{gateway}")
    gc.enable()
    handover = None
    if shared:
        process, balance, *descriptors = map(int, shared)
        inbox, *outboxes = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        handover = Handover(process, Balance(balance, len(outboxes)), inbox, outboxes)
        application.number_sessions(prefix(process))
    run(
        application,
        socket.socket(fileno=int(listening_descriptor)),
        int(lifeline_descriptor),
        handover,
        # The internal port is for the platform's own machines.
        secure=gateway == "user" and settings.TLS_CERT is not None,
    )


if __name__ == "__main__":
    main()
