"""A connection to the server. Anyone on this machine may open thousands and send half a request on each: one that
brings nothing whole in time is ended, and of too many the stranger's that waits the longest."""

from typing import Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from microgpt.studio.security import OWNER

MOST_CONNECTIONS: Final = 128  # connections without a request of the owner
WAITING: Final = 5.0  # seconds that they may last
SILENT: Final = 30.0  # seconds between two pieces of what the owner sends


class Connection(H11Protocol):
    since = 0.0  # when it began, was last answered, or brought a piece of the owner's request

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.since = self.loop.time()
        transport.max_size = 1 << 16  # bytes at once, of which asyncio takes four times as many
        self._look()
        others = [each for each in cast("set[Connection]", self.connections) if not each._serving]
        if len(others) > MOST_CONNECTIONS:
            min(others, key=lambda each: each.since)._end()

    def data_received(self, data: bytes) -> None:
        if self._serving:
            self.since = self.loop.time()
        super().data_received(data)

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    @property
    def _serving(self) -> bool:
        """Whether the owner's request is under way, whose answer may take its time, as the fit of a law does."""
        return bool(self.cycle and self.cycle.scope["state"].get(OWNER) and not self.cycle.response_complete)

    def _look(self) -> None:
        waited = self.loop.time() - self.since
        answering = self._serving and not self.cycle.more_body
        if not answering and waited > (SILENT if self._serving else WAITING):
            self._end()
        if self in self.connections:
            self.loop.call_later(WAITING / 10, self._look)

    def _end(self) -> None:
        self.connections.discard(self)
        self.transport.abort()
