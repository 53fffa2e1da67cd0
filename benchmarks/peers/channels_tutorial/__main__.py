"""The command `daphne`, but that it says when it is ready."""

import os

from channels_tutorial.asgi import application
from daphne.server import Server

Server(
    application,
    endpoints=[f"tcp:port={os.environ['PORT']}:interface=127.0.0.1"],
    # The endpoints listen by then. The layer has no subscriptions: groups are sets in Redis.
    ready_callable=lambda: print("ready", flush=True),
).run()
