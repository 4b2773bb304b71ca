"""The peer Django Channels: a consumer in a group over channels-redis.

Runs in the peers' own environment, on uvicorn. As a program it sends the lines of stdin to the
group.
"""

import asyncio
import os
import sys
from typing import Any, ClassVar

import django
from django.conf import settings

GROUP = "course"

settings.configure(
    SECRET_KEY="of a benchmark",  # noqa: S106  # nothing is signed with it
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402  # after the settings
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


class Viewer(AsyncWebsocketConsumer):
    """A member of the group."""

    groups: ClassVar = [GROUP]

    async def analytics_update(self, event: dict[str, Any]) -> None:
        """Send what the group was sent; the text is encoded already."""
        await self.send(text_data=event["text"])


app = ProtocolTypeRouter({"websocket": URLRouter([path("course", Viewer.as_asgi())])})


async def publish() -> None:
    """Send each line to the group."""
    layer = get_channel_layer()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await layer.group_send(GROUP, {"type": "analytics.update", "text": line.strip()})


if __name__ == "__main__":
    asyncio.run(publish())
