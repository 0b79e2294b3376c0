"""The front: real sockets, its own program where that matters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.targets.host import forward
from trimtab.targets.host.forward import Links, Route, format_address, listen, parse_address
from trimtab.targets.host.fronts import Fronts
from trimtab.targets.host.rotate import turn_over

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def backend(serve: Serve) -> AsyncIterator[tuple[str, int]]:
    async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(whole, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def saying(text: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return serve


@pytest.fixture
async def route() -> AsyncIterator[Route]:
    made = Route(("127.0.0.1", 0), listen(("127.0.0.1", 0)), Links())
    await made.open()
    yield made
    made.close()
    for link in list(made._links.open):
        link.close()
    await asyncio.sleep(0.02)


async def dial(route: Route) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*route.sock.getsockname()[:2])


async def test_bytes_pass_both_ways_and_each_end_closes_alone(route: Route) -> None:
    """A megabyte goes there and comes back although the client has closed its side; then the connection is gone."""
    async with backend(echo) as address:
        route.backends = (address,)
        reader, writer = await dial(route)
        data = os.urandom(1_000_000)
        sending = asyncio.ensure_future(writer.drain())
        writer.write(data)
        writer.write_eof()
        assert await reader.read() == data
        await sending
        writer.close()
        await asyncio.sleep(0.02)
        assert not route._links.open
        assert route._links.by_backend[address] == 0


async def test_backends_take_turns(route: Route) -> None:
    """Each gets its share."""
    async with backend(saying(b"a")) as first, backend(saying(b"b")) as second:
        route.backends = (first, second)
        answers = []
        for _ in range(4):
            reader, writer = await dial(route)
            answers.append(await reader.read())
            writer.close()
    assert sorted(answers) == [b"a", b"a", b"b", b"b"]


async def test_a_backend_that_refuses_is_passed_over(route: Route, free_port: int) -> None:
    """The next one in turn answers."""
    async with backend(saying(b"a")) as address:
        route.backends = (("127.0.0.1", free_port), address)
        for _ in range(3):
            reader, writer = await dial(route)
            assert await reader.read() == b"a"
            writer.close()


async def test_a_connection_is_held_until_a_backend_accepts(route: Route) -> None:
    """It waits, and is served as soon as one is there."""
    reader, writer = await dial(route)
    await asyncio.sleep(0.05)
    async with backend(saying(b"late")) as address:
        route.backends = (address,)
        assert await asyncio.wait_for(reader.read(), 2) == b"late"
        writer.close()


async def test_a_connection_is_not_held_for_ever(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it is closed."""
    monkeypatch.setattr(forward, "HOLD_SECONDS", 0.05)
    reader, writer = await dial(route)
    assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()


async def test_a_slow_reader_slows_the_writer(route: Route) -> None:
    """What nobody reads is not piled up in the front."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while sent < 200_000_000:
                writer.write(b"x" * 100_000)
                await writer.drain()
                sent += 100_000

    async with backend(flood) as address:
        route.backends = (address,)
        _, writer = await dial(route)
        await asyncio.sleep(0.3)
        assert sent < 50_000_000
        writer.transport.abort()
        await asyncio.sleep(0.05)


async def test_connections_are_cut_when_they_are_quiet(route: Route) -> None:
    """A kept-alive connection whose answer has come is closed."""
    async with backend(echo) as address:
        route.backends = (address,)
        reader, writer = await dial(route)
        writer.write(b"question")
        assert await reader.readexactly(8) == b"question"
        await route._links.cut({address})
        assert await asyncio.wait_for(reader.read(), 1) == b""
        writer.close()


async def test_connections_are_bounded(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too many is refused; what is there goes on."""
    monkeypatch.setattr(forward, "CONNECTIONS_MAX", 1)
    async with backend(echo) as address:
        route.backends = (address,)
        reader, writer = await dial(route)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        second, other = await dial(route)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(second.read(), 1) == b""
        other.close()
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.close()


def test_addresses_are_read_as_they_are_written() -> None:
    """IPv6 in brackets."""
    for text in ("127.0.0.1:80", "[::1]:80"):
        assert format_address(parse_address(text)) == text


# The program itself.


@pytest.fixture
async def root(tmp_path: Path) -> AsyncIterator[Path]:
    (tmp_path / "instances").mkdir()
    yield tmp_path
    await asyncio.sleep(0.02)  # closed streams end in the loop


@contextlib.asynccontextmanager
async def running(root: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    program = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", "trimtab.targets.host.front", cwd=root)
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.terminate()
        await asyncio.wait_for(program.wait(), 5)


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_front_comes_back_with_its_table(root: Path, free_port: int) -> None:
    """Killed and started anew, it serves without being told; a later word finds it."""
    fronts = Fronts(root)
    async with backend(saying(b"a")) as (host, port), running(root) as first:
        assert await fronts.set({f"127.0.0.1:{free_port}": (f"{host}:{port}",)}) == {}
        assert await ask(free_port) == b"a"
        first.kill()
        await first.wait()
        async with running(root):
            while not (root / "front.sock").exists():
                await asyncio.sleep(0.01)
            for _ in range(200):
                with contextlib.suppress(OSError):
                    assert await ask(free_port) == b"a"
                    break
                await asyncio.sleep(0.01)
            assert await fronts.connections() == {}
            fronts.close()


async def test_a_second_front_takes_over_without_a_refused_connection(root: Path, free_port: int) -> None:
    """The listening sockets are handed over; what was open ends with the first one."""
    fronts = Fronts(root)
    async with backend(echo) as (host, port), running(root) as first:
        await fronts.set({f"127.0.0.1:{free_port}": (f"{host}:{port}",)})
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        refused, ending = [], asyncio.Event()

        async def knock() -> None:
            while not ending.is_set():
                try:
                    _, other = await asyncio.open_connection("127.0.0.1", free_port)
                    other.close()
                except OSError as error:
                    refused.append(error)
                await asyncio.sleep(0.001)

        knocking = asyncio.create_task(knock())
        async with running(root):
            await asyncio.sleep(0.4)
            writer.write(b"y")
            assert await reader.readexactly(1) == b"y", "the connection of before goes on"
            writer.close()
            ending.set()
            await knocking
            assert await asyncio.wait_for(first.wait(), 5) == 0, "the first one ends when its last connection has"
            assert refused == []
            assert await fronts.routes() == {f"127.0.0.1:{free_port}": [f"{host}:{port}"]}
            fronts.close()


async def test_a_taken_port_is_answered_and_the_others_hold(root: Path, free_port: int) -> None:
    """One error by address; what is not in there is acknowledged."""
    fronts = Fronts(root)
    async with backend(saying(b"a")) as (host, port), running(root):
        errors = await fronts.set({f"{host}:{port}": (), f"127.0.0.1:{free_port}": (f"{host}:{port}",)})
        assert list(errors) == [f"{host}:{port}"]
        assert await ask(free_port) == b"a"
        assert list(fronts.table) == [f"127.0.0.1:{free_port}"]
        await fronts.set({f"127.0.0.1:{free_port}": None})
        with pytest.raises(OSError):
            await ask(free_port)
        fronts.close()


async def test_no_front_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transient: it is being started."""
    monkeypatch.setattr("trimtab.targets.host.fronts.APPEAR_SECONDS", 0.05)
    with pytest.raises(TransientError):
        await Fronts(root).set({"127.0.0.1:1": ()})


def test_logs_are_turned_over_in_place(root: Path) -> None:
    """The file stays the same for whoever appends to it; so many earlier ones are kept."""
    place = root / "instances" / "x"
    place.mkdir()
    (place / "instance.json").write_text('{"logBytesMax": 5000, "logFiles": 2}')
    with (place / "log").open("ab", buffering=0) as file:
        for number in range(4):
            file.write(str(number).encode() * 6_000)
            turn_over(root / "instances")
        file.write(b"new\n")
    assert (place / "log").read_bytes() == b"new\n"
    assert [(place / name).read_bytes()[:1] for name in ("log.1", "log.2")] == [b"3", b"2"]
    assert not (place / "log.3").exists()
