"""The tutorial's application: WebSockets to the consumer."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "channels_tutorial.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

django_application = get_asgi_application()

# After Django is set up, as the tutorial has it: a consumer may import models.
from channels_tutorial.consumers import ChatConsumer  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter([path("ws", ChatConsumer.as_asgi())]),
    }
)
