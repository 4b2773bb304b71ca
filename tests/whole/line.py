"""A line between the product and a server that can go dead without a word, as networks do."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

PIECE = 65_536


class Line:
    """Forwards `port`, its own, to a server's, until it goes dead: all stays open and silent."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._alive: set[asyncio.Task[None]] = set()
        self._dead: list[asyncio.StreamWriter] = []
        self._is_dead = False
        self.cut = 0
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listening.wait(10)

    def go_dead(self) -> None:
        """Forward nothing more, and let new connections hang."""
        self._ask(self._go_dead)

    def come_back(self) -> None:
        """Serve new connections; those that died stay silent for ever."""
        self._ask(self._come_back)

    def close(self) -> None:
        """Cut everything."""
        self._ask(self._loop.stop)
        self._thread.join(10)

    def _ask(self, what: object) -> None:
        self._loop.call_soon_threadsafe(what)  # type: ignore[arg-type]  # methods without arguments

    def _go_dead(self) -> None:
        self._is_dead = True
        self.cut += len(self._alive)
        for task in self._alive:
            task.cancel()

    def _come_back(self) -> None:
        self._is_dead = False

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0)
        )
        self.port: int = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        for writer in self._dead:
            writer.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._dead.append(writer)  # kept: to collect it would close it
        if self._is_dead:
            return
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._dead.append(back)
            for source, sink in ((reader, back), (there, writer)):
                task = asyncio.create_task(self._forward(source, sink))
                self._alive.add(task)
                task.add_done_callback(self._alive.discard)

    @staticmethod
    async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                sink.write(piece)
                await sink.drain()
            sink.close()
