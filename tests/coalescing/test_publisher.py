"""Publishing goes only forward."""

from __future__ import annotations

import json

import redis
from bson.int64 import Int64

from analytics.messages import Frame
from analytics.stores.publish import Publisher
from analytics.subjects import ANNOUNCEMENTS, Subject
from tests.stack import eventually

COURSE = Subject("c")


def test_an_older_or_equal_frame_is_neither_cached_nor_sent(valkey: redis.Redis) -> None:
    publisher = Publisher(valkey)
    with valkey.pubsub(  # type: ignore[no-untyped-call]
        ignore_subscribe_messages=True
    ) as listener:
        listener.subscribe(COURSE.channel)
        eventually(lambda: valkey.pubsub_numsub(COURSE.channel)[0][1] == 1)
        assert publisher.publish(COURSE, Frame(2, "two"))
        assert not publisher.publish(COURSE, Frame(1, "one"))
        assert not publisher.publish(COURSE, Frame(2, "two again"))
        assert publisher.publish(COURSE, Frame(3, "three"))
        heard = [eventually(lambda: listener.get_message(timeout=0.1))["data"] for _ in range(2)]
        assert heard == ["two", "three"]
        assert listener.get_message() is None
    assert valkey.hgetall(COURSE.frame_key) == {"version": "3", "frame": "three"}


def test_a_publication_is_announced_to_every_process(valkey: redis.Redis) -> None:
    others = valkey.pubsub_numsub(ANNOUNCEMENTS)[0][1]
    with valkey.pubsub(  # type: ignore[no-untyped-call]
        ignore_subscribe_messages=True
    ) as listener:
        listener.subscribe(ANNOUNCEMENTS)
        eventually(lambda: valkey.pubsub_numsub(ANNOUNCEMENTS)[0][1] > others)
        Publisher(valkey).publish(COURSE, Frame(7, "seven"))
        message = eventually(lambda: listener.get_message(timeout=0.1))
    assert json.loads(message["data"]) == {"subject": COURSE.name, "version": 7}


def test_a_stored_frames_version_is_published_as_it_comes_from_the_database(
    valkey: redis.Redis,
) -> None:
    assert Publisher(valkey).publish(COURSE, Frame(Int64(1_795_000_000_000), "stored"))
    assert valkey.hget(COURSE.frame_key, "version") == "1795000000000"


def test_the_cached_frame_ends_by_itself(valkey: redis.Redis) -> None:
    Publisher(valkey).publish(COURSE, Frame(1, "one"))
    assert int(valkey.ttl(COURSE.frame_key)) > 0
