"""A relay on loopback that adds latency: `delay.py PORT TARGET_PORT MILLISECONDS`. Half of it is spent on what a client
sends and half on what it gets, however much is under way at once; connecting costs the whole once more. It neither loses
nor slows anything."""

import asyncio
import collections
import sys

MOST_UNDER_WAY = 32 << 20


class Lane(asyncio.Protocol):
    """Hands on what one side sends, each piece after its delay."""

    def __init__(self, delay):
        self.delay = delay
        self.other = None
        self.transport = None
        self.under_way = collections.deque()
        self.bytes = 0
        self.paused_by_peer = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.bytes += len(data)
        self.under_way.append(data)
        self.read_if_wanted()
        asyncio.get_running_loop().call_later(self.delay, self.hand_on)

    def hand_on(self):
        data = self.under_way.popleft()
        if data is None:
            self.other.transport.close()
            return
        self.bytes -= len(data)
        if not self.other.transport.is_closing():
            self.other.transport.write(data)
        self.read_if_wanted()

    def read_if_wanted(self):
        wanted = self.bytes <= MOST_UNDER_WAY and not self.paused_by_peer
        if self.transport.is_closing() or wanted == self.transport.is_reading():
            return
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def connection_lost(self, _):
        self.under_way.append(None)
        asyncio.get_running_loop().call_later(self.delay, self.hand_on)

    # What the other side does not take fast enough, this side is not to read.
    def pause_writing(self):
        self.other.paused_by_peer = True
        self.other.read_if_wanted()

    def resume_writing(self):
        self.other.paused_by_peer = False
        self.other.read_if_wanted()


class Client(Lane):
    def __init__(self, delay, target):
        super().__init__(delay)
        self.target = target
        self.early = []
        self.gone = False

    def connection_made(self, transport):
        super().connection_made(transport)
        self.connecting = asyncio.ensure_future(self.connect())

    def data_received(self, data):
        if self.other:
            super().data_received(data)
        else:
            self.early.append(data)

    async def connect(self):
        await asyncio.sleep(2 * self.delay)  # the handshake
        server = Lane(self.delay)
        server.other = self
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", self.target)
        except OSError:
            self.transport.abort()
            return
        if self.gone:
            server.transport.abort()
            return
        self.other = server
        for data in self.early:
            self.data_received(data)
        self.early.clear()

    def connection_lost(self, error):
        self.gone = True
        if self.other:
            super().connection_lost(error)


async def main():
    port, target, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 2000
    server = await asyncio.get_running_loop().create_server(lambda: Client(delay, target), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
