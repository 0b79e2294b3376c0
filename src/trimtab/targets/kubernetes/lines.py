"""Bytes as they come, cut into lines: pure. Ours, because a line of a watch is a whole object, larger than a reader's buffer takes."""

from __future__ import annotations


class Whole:
    """Complete lines without their newline; empty ones and what follows the last newline are left out."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes. Raises ValueError when one is longer than the bound."""
        first, *others = data.split(b"\n")
        self._rest.append(first)
        self._size += len(first)
        if self._size > self._bytes_max:
            raise ValueError(f"a line has more than {self._bytes_max} bytes")
        if not others:
            return []
        lines = [b"".join(self._rest), *others[:-1]]
        self._rest, self._size = [others[-1]], len(others[-1])
        return [line for line in lines if line]


class Pieces:
    """Lines without their newline, those above the bound in several pieces."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        most = self._bytes_max
        found = [line[at : at + most].removesuffix(b"\r") for line in lines for at in range(0, len(line) or 1, most)]
        while len(self._rest) >= most:
            found.append(self._rest[:most])
            self._rest = self._rest[most:]
        return found

    def end(self) -> list[bytes]:
        """What came after the last newline."""
        return [self._rest.removesuffix(b"\r")] if self._rest else []
