"""Publishing, only forward: the cached frame, its channel and its announcement in one script.

A frame is cached and sent only if its version is above the cached one, so that a worker which was
stopped for a while and wakes up cannot show anybody an older state.
"""

from __future__ import annotations

import json

import redis

from analytics.messages import Frame
from analytics.subjects import ANNOUNCEMENTS, Subject

FRAME_SECONDS = 86_400

# KEYS: the frame's key. ARGV: version, frame, channel, announcements channel, announcement, TTL.
PUBLISH = """
local cached = redis.call('HGET', KEYS[1], 'version')
if cached and tonumber(cached) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'frame', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('PUBLISH', ARGV[3], ARGV[2])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
"""


class Publisher:
    """Publishes frames; one per worker process."""

    def __init__(self, client: redis.Redis) -> None:
        self._script = client.register_script(PUBLISH)

    def publish(self, subject: Subject, frame: Frame) -> bool:
        """Cache and send the frame if it is newer than the cached one; say whether it was."""
        announcement = json.dumps({"subject": subject.name, "version": int(frame.version)})
        return bool(
            self._script(
                keys=[subject.frame_key],
                args=[
                    int(frame.version),  # BSON's own integers are not packed for Redis
                    frame.text,
                    subject.channel,
                    ANNOUNCEMENTS,
                    announcement,
                    FRAME_SECONDS,
                ],
            )
        )
