"""The front: a small program under supervisord that owns the stable ports, so that they stay open while everything behind them
is replaced, and while Trimtab itself is away.

    python -m trimtab.targets.host.front        (in DATA/host)

It is told on a unix socket which backends a port has, one JSON object in a line each way, and acknowledges once that holds. It
keeps the table in a file and comes back with it. A front that finds another one running (supervisord was killed and started
anew) takes over its listening sockets, so that no connection is refused; the other ends when its last connection has.
It also turns over the logs of instances, because it lives as long as they do.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
from pathlib import Path
from typing import Any

from .forward import Address, Links, Route, format_address, listen, parse_address
from .rotate import turn_over

SOCKET = "front.sock"
TABLE = "front.json"
LINE_BYTES_MAX = 16 * 1024 * 1024
HANDOVER_SECONDS = 2.0
FDS_MAX = 250  # SCM_MAX_FD is 253 (unix(7))
LAST_CONNECTIONS_SECONDS = 3_600.0
TURN_OVER_SECONDS = 2.0


class Front:
    """The table of routes and those who ask to change it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._routes: dict[Address, Route] = {}
        self._links = Links()
        self._cutting: set[asyncio.Task[None]] = set()
        self.handed_over = asyncio.Event()
        self.stopped = asyncio.Event()

    async def serve(self, inherited: dict[Address, socket.socket]) -> None:
        """Until told to end, or until another front has taken over and the last connection is done."""
        await self._restore(inherited)
        path = self._root / SOCKET
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._converse, path=SOCKET, limit=LINE_BYTES_MAX)
        path.chmod(0o600)
        keeper = asyncio.create_task(turn_over_for_ever(self._root / "instances"))
        ends = [asyncio.create_task(event.wait()) for event in (self.stopped, self.handed_over)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        keeper.cancel()
        server.close()
        if self.handed_over.is_set() and self._links.open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_CONNECTIONS_SECONDS):
                    await asyncio.wait(
                        [asyncio.create_task(self._links.emptied.wait()), ends[0]], return_when=asyncio.FIRST_COMPLETED
                    )

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("op"):
            case "set":
                return {"errors": await self._set(request["routes"], replace=bool(request.get("replace")))}
            case "stats":
                return self._stats()
            case "cut":
                task = asyncio.create_task(self._links.cut({parse_address(text) for text in request["backends"]}))
                self._cutting.add(task)
                task.add_done_callback(self._cutting.discard)
                return {}
            case "end":
                self.stopped.set()
                return {}
            case other:
                return {"error": f"unknown op {other!r}"}

    async def _set(self, routes: dict[str, Any], *, replace: bool) -> dict[str, str]:
        """Each address gets its backends; None closes it. What fails is answered by address; the others hold."""
        errors: dict[str, str] = {}
        for text, backends in routes.items():
            address = parse_address(text)
            if backends is None:
                self._close(address)
                continue
            try:
                route = await self._route(address)
            except OSError as error:
                errors[text] = error.strerror or str(error)
                continue
            route.backends = tuple(parse_address(each) for each in backends)
        if replace:
            wanted = {parse_address(text) for text in routes}
            for address in [address for address in self._routes if address not in wanted]:
                self._close(address)
        self._save()
        return errors

    async def _route(self, address: Address, sock: socket.socket | None = None) -> Route:
        if address not in self._routes:
            route = Route(address, sock or listen(address), self._links)
            await route.open()
            self._routes[address] = route
        return self._routes[address]

    def _close(self, address: Address) -> None:
        route = self._routes.pop(address, None)
        if route is not None:
            route.close()

    def _stats(self) -> dict[str, Any]:
        return {
            "connections": {format_address(at): count for at, count in self._links.by_backend.items() if count > 0},
            "routes": self._table(),
        }

    def _table(self) -> dict[str, list[str]]:
        return {format_address(at): [format_address(each) for each in route.backends] for at, route in self._routes.items()}

    def _save(self) -> None:
        temporary = self._root / f".{TABLE}.tmp"
        with contextlib.suppress(OSError):  # on a full disk the table in memory counts; Trimtab tells it again after a restart
            temporary.write_text(json.dumps(self._table()))
            temporary.rename(self._root / TABLE)

    async def _restore(self, inherited: dict[Address, socket.socket]) -> None:
        try:
            table = json.loads((self._root / TABLE).read_text())
        except (OSError, ValueError):
            table = {}
        for address, sock in inherited.items():
            await self._route(address, sock)
        for text, backends in table.items():
            with contextlib.suppress(OSError):
                route = await self._route(parse_address(text))
                route.backends = tuple(parse_address(each) for each in backends)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                request = json.loads(line)
                if request.get("op") == "handover":
                    self._hand_over(writer)
                    return
                writer.write(json.dumps(await self.answer(request)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            return  # whoever it was is gone, or talks nonsense; or we end
        finally:
            writer.close()

    def _hand_over(self, writer: asyncio.StreamWriter) -> None:
        """Send our listening sockets to the next front and accept nothing more ourselves."""
        routes = list(self._routes.values())[:FDS_MAX]
        fds = array.array("i", [route.sock.fileno() for route in routes])
        addresses = json.dumps([format_address(route.address) for route in routes]).encode()
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
            sock.setblocking(True)
            sock.sendmsg([len(addresses).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
            sock.sendall(addresses)
        for route in routes:
            route.close()
        self.handed_over.set()


def take_over(root: Path) -> dict[Address, socket.socket]:
    """The listening sockets of the front that runs already; empty when there is none."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(HANDOVER_SECONDS)
        try:
            sock.connect(SOCKET if Path.cwd() == root else str(root / SOCKET))
            sock.sendall(b'{"op": "handover"}\n')
            head, fds, _, _ = socket.recv_fds(sock, 4, FDS_MAX)
            size, data = int.from_bytes(head, "big"), b""
            while len(data) < size and (more := sock.recv(65_536)):
                data += more
            addresses = [parse_address(text) for text in json.loads(data or b"[]")]
        except (OSError, ValueError):
            return {}
    inherited: dict[Address, socket.socket] = {}
    for address, fd in zip(addresses, fds, strict=True):
        inherited[address] = socket.socket(fileno=fd)
        inherited[address].setblocking(False)
    return inherited


async def turn_over_for_ever(instances: Path) -> None:
    while True:
        await asyncio.sleep(TURN_OVER_SECONDS)
        await asyncio.to_thread(turn_over, instances)


async def main() -> None:
    root = Path.cwd()
    front = Front(root)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, front.stopped.set)
    await front.serve(take_over(root))


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main())
