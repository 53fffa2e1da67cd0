"""The chat's consumer."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings


class ChatConsumer(AsyncJsonWebsocketConsumer):
    user_id: str | None = None

    async def disconnect(self, _code: int) -> None:
        if self.user_id is not None:
            await self.channel_layer.group_discard(f"user_{self.user_id}", self.channel_name)

    async def receive_json(self, content: dict[str, Any]) -> None:
        event, data = content["event"], content.get("data")
        if event == "authenticate":
            reply = await self.authenticate(data["token"])
        elif self.user_id is None:
            reply = {"status": "error", "error": "unauthenticated"}
        elif event == "send_message":
            reply = await self.send_message(data)
        else:
            reply = {"status": "error", "error": "unknown event"}
        if reply is not None:
            await self.send_json({"event": event, "id": content.get("id"), "data": reply})

    async def authenticate(self, token: str) -> dict[str, Any] | None:
        try:
            claims = jwt.decode(
                token,
                settings.SECRET_KEY,
                algorithms=["HS256"],
                options={"require": ["sub", "exp"]},
            )
        except jwt.InvalidTokenError:
            return await self.close(4401)
        self.user_id = claims["sub"]
        await self.channel_layer.group_add(f"user_{self.user_id}", self.channel_name)
        data = {"user": {"userId": self.user_id}}
        await self.send_json({"event": "connected", "data": data})
        return data

    async def send_message(self, request: dict[str, Any]) -> dict[str, str]:
        metadata = {
            **request.get("metadata", {}),
            "source": "user",
            "senderId": self.user_id,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        for recipient_id in request["recipientIds"]:
            push = {
                "recipientId": recipient_id,
                "message": request["message"],
                "metadata": metadata,
            }
            await self.channel_layer.group_send(
                f"user_{recipient_id}", {"type": "chat.message", "push": push}
            )
        return {"status": "sent", "messageId": str(uuid4())}

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json({"event": "message", "data": event["push"]})
