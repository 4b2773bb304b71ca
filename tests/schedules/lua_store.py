"""The part of Redis that the scripts use, in this process and under a clock that tests move.

The scripts are the real ones, run by the same Lua (5.1); only the commands below are ours, so that
ten thousand schedules take minutes and each can be repeated from its seed. That real servers agree
is what `tests/coalescing` and `tests/whole` are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lupa.lua51 import LuaRuntime

Score = float


class LuaStore:
    """Hashes and sorted sets, and `register_script` as the client has it. `now_ms` is settable."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.published: list[tuple[str, str]] = []
        self._hashes: dict[str, dict[str, str]] = {}
        self._sets: dict[str, dict[str, Score]] = {}
        self._lua = LuaRuntime(unpack_returned_tuples=True)
        self._lua.execute("redis = {}")
        self._lua.globals().redis.call = self._call

    def flush(self) -> None:
        """Lose everything."""
        self._hashes.clear()
        self._sets.clear()

    def has(self, key: str) -> bool:
        """Say whether a sorted set has members."""
        return bool(self._sets.get(key))

    def register_script(self, text: str) -> Callable[..., Any]:
        """Return a function that runs the script as one step."""
        compiled = self._lua.eval("function(KEYS, ARGV)\n" + text + "\nend")

        def run(*, keys: list[str], args: list[Any]) -> Any:
            texts = [str(arg) for arg in args]
            answer = compiled(self._lua.table_from(keys), self._lua.table_from(texts))
            return _from_lua(answer)

        return run

    def _call(self, command: str, *arguments: Any) -> Any:
        texts = [_text(argument) for argument in arguments]
        answer = getattr(self, "_" + command.lower())(*texts)
        if isinstance(answer, list):
            return self._lua.table_from(answer)
        return False if answer is None else answer

    def _time(self) -> list[str]:
        return [str(self.now_ms // 1_000), str(self.now_ms % 1_000 * 1_000)]

    def _hget(self, key: str, field: str) -> str | None:
        return self._hashes.get(key, {}).get(field)

    def _hset(self, key: str, *pairs: str) -> int:
        self._hashes.setdefault(key, {}).update(zip(pairs[::2], pairs[1::2], strict=True))
        return 1

    def _hsetnx(self, key: str, field: str, value: str) -> int:
        self._hashes.setdefault(key, {}).setdefault(field, value)
        return 1

    def _hdel(self, key: str, field: str) -> int:
        return int(self._hashes.get(key, {}).pop(field, None) is not None)

    def _hincrby(self, key: str, field: str, by: str) -> int:
        value = int(self._hashes.setdefault(key, {}).get(field, "0")) + int(by)
        self._hashes[key][field] = str(value)
        return value

    def _hgetall(self, key: str) -> list[str]:
        return [text for pair in self._hashes.get(key, {}).items() for text in pair]

    def _expire(self, _key: str, _seconds: str) -> int:
        return 1  # a schedule is shorter than any lifetime

    def _publish(self, channel: str, message: str) -> int:
        self.published.append((channel, message))
        return 1

    def _zadd(self, key: str, *arguments: str) -> int:
        options = [each for each in arguments if each in {"NX", "XX"}]
        score, member = arguments[len(options) :]
        members = self._sets.setdefault(key, {})
        if ("NX" in options and member in members) or ("XX" in options and member not in members):
            return 0
        members[member] = float(score)
        return 1

    def _zrem(self, key: str, member: str) -> int:
        return int(self._sets.get(key, {}).pop(member, None) is not None)

    def _zscore(self, key: str, member: str) -> str | None:
        score = self._sets.get(key, {}).get(member)
        return None if score is None else f"{score:.17g}"

    def _zcard(self, key: str) -> int:
        return len(self._sets.get(key, {}))

    def _zcount(self, key: str, low: str, high: str) -> int:
        return len(self._within(key, low, high))

    def _zrange(self, key: str, start: str, stop: str, *options: str) -> list[str]:
        found = self._in_order(key)
        end = None if int(stop) == -1 else int(stop) + 1
        chosen = found[int(start) : end]
        if "WITHSCORES" in options:
            return [text for score, member in chosen for text in (member, f"{score:.17g}")]
        return [member for _, member in chosen]

    def _zrangebyscore(self, key: str, low: str, high: str, *options: str) -> list[str]:
        found = self._within(key, low, high)
        if options:
            _, start, count = options
            found = found[int(start) : int(start) + int(count)]
        return found

    def _zremrangebyscore(self, key: str, low: str, high: str) -> int:
        found = self._within(key, low, high)
        for member in found:
            del self._sets[key][member]
        return len(found)

    def _in_order(self, key: str) -> list[tuple[Score, str]]:
        return sorted((score, member) for member, score in self._sets.get(key, {}).items())

    def _within(self, key: str, low: str, high: str) -> list[str]:
        bottom, top = float(low), float(high)
        return [member for score, member in self._in_order(key) if bottom <= score <= top]


def _text(value: Any) -> str:
    """Return an argument as Redis gets it from Lua: whole numbers without a point."""
    if isinstance(value, float):
        return f"{value:.17g}"
    return value.decode() if isinstance(value, bytes) else str(value)


def _from_lua(answer: Any) -> Any:
    if hasattr(answer, "values"):
        return [_from_lua(each) for each in answer.values()]
    return int(answer) if isinstance(answer, float) else answer
