"""Asking an instance how it is: one question in, "" or what is wrong out. Each question is bounded in time and in bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trimtab.plumbing.processes import ProcessError, run

from .kinds import Http, Probe
from .script import probe_arguments

HEAD_BYTES_MAX = 16 * 1024
OUTPUT_BYTES_MAX = 64 * 1024
LOG_BYTES_MAX = 4 * 1024 * 1024
MEMORY_KIB_MAX = 512 * 1024


@dataclass
class Asked:
    """The instance that is asked: DATA/host, the instance's directory below it, its ports, what `$(NAME)` means in a command."""

    root: Path
    place: str
    ports: Mapping[str, int]
    values: Mapping[str, str]
    log_offset: int = 0


async def ask(probe: Probe, asked: Asked) -> str:
    """Never raises for what the process does; "" is success."""
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            if probe.http is not None:
                return await _http(probe.http, _port(probe.http.port, asked))
            if probe.tcp is not None:
                return await _tcp(_port(probe.tcp.port, asked))
            if probe.command is not None:
                return await _command(
                    probe_arguments(probe.command, asked.values, place=asked.place), probe.timeout_seconds, asked
                )
            return await _log_line(probe.log_line or "", probe.timeout_seconds, asked)
    except TimeoutError:
        return f"no answer within {probe.timeout_seconds:g} s"
    except OSError as error:
        return error.strerror or str(error)


def _port(name: str, asked: Asked) -> int:
    return asked.ports[name] if name else next(iter(asked.ports.values()))


async def _http(http: Http, port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=HEAD_BYTES_MAX)
    try:
        request = f"GET {http.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: trimtab\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        status = await reader.readline()
    except ValueError:
        return "GET " + http.path + ": the answer is not HTTP"
    finally:
        writer.close()
    parts = status.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        return f"GET {http.path}: the answer is not HTTP"
    code = int(parts[1])
    good = code in http.status if http.status else 200 <= code < 400
    return "" if good else f"GET {http.path}: status {code}"


async def _tcp(port: int) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return ""


async def _command(arguments: list[str], seconds: float, asked: Asked) -> str:
    try:
        done = await run(
            arguments,
            environment={"PATH": os.environ.get("PATH", os.defpath)},
            timeout_seconds=seconds,
            output_bytes_max=OUTPUT_BYTES_MAX,
            directory=asked.root,
        )
    except ProcessError as error:
        return str(error)
    return "" if done.code == 0 else f"the command ended with {done.code}"


async def _log_line(pattern: str, seconds: float, asked: Asked) -> str:
    """grep decides: its matching takes linear time, and it can be killed, which a hostile pattern in our process could not be."""
    with (asked.root / asked.place / "log").open("rb") as file:
        if asked.log_offset > os.fstat(file.fileno()).st_size:  # it was turned over
            asked.log_offset = 0
        file.seek(asked.log_offset)
        data = file.read(LOG_BYTES_MAX)
    if not data:
        return "no line of output matches yet"
    script = f'ulimit -v {MEMORY_KIB_MAX}; exec grep -a -E -q -e "$1"'
    try:
        done = await run(
            ["/bin/sh", "-c", script, "grep", pattern],
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            timeout_seconds=seconds,
            output_bytes_max=OUTPUT_BYTES_MAX,
            stdin=data,
        )
    except ProcessError as error:
        return str(error)
    if done.code == 0:
        return ""
    # Whole lines only are passed over: a line that is still being written is looked at again.
    asked.log_offset += data.rfind(b"\n") + 1
    return "no line of output matches yet" if done.code == 1 else done.stderr.decode(errors="replace").strip()[:200]
