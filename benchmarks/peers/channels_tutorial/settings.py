"""Of the tutorial's settings, what a WebSocket needs."""

import os

SECRET_KEY = os.environ["JWT_SECRET"]
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["daphne", "channels"]
USE_TZ = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": os.environ["REDIS_URL"],
                    # The layer's blocking read takes 5 s where nothing comes; by default redis-py
                    # gives up after as many, and the consumer dies.
                    "socket_timeout": None,
                    # Every send that is on its way holds a connection; beyond the default, 100, it
                    # fails.
                    "max_connections": 10_000,
                }
            ],
            # What may wait for all sockets of a process together. Beyond the default, 100, messages
            # are dropped, and nobody is told.
            "capacity": 10_000,
            # Likewise dropped is what waited for so many seconds.
            "expiry": 60,
        },
    }
}
