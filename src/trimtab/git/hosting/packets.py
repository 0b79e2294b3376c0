"""Git's packets: four hexadecimal digits of length, then so many bytes; length 0 ends a part. Pure. (gitprotocol-common(5))"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

FLUSH = b"0000"
PACKET_BYTES_MAX = 65520
SIDEBAND_BYTES_MAX = PACKET_BYTES_MAX - 5


class Malformed(ValueError):  # noqa: N818
    """Not the protocol. The text says what is wrong."""


def packet(data: bytes) -> bytes:
    return b"%04x%b" % (len(data) + 4, data)


def line(text: str) -> bytes:
    return packet(text.encode("utf-8", "surrogateescape") + b"\n")


def sideband(channel: int, data: bytes) -> Iterator[bytes]:
    """1 is data, 2 is for people, 3 is the end of everything."""
    for at in range(0, len(data), SIDEBAND_BYTES_MAX):
        part = data[at : at + SIDEBAND_BYTES_MAX]
        yield b"%04x%c%b" % (len(part) + 5, channel, part)


KEEP_ALIVE = b"0005\x02"


def told(lines: Iterable[str]) -> bytes:
    """Lines for the terminal of whoever pushes, on channel 2."""
    return b"".join(part for text in lines for part in sideband(2, text.encode("utf-8", "replace") + b"\n"))


class Packets:
    """Takes packets out of bytes that come in pieces. `take` is None where more bytes are needed, b"" for a flush."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self.buffer += data

    def take(self) -> bytes | None:
        """Raises Malformed."""
        if len(self.buffer) < 4:
            return None
        try:
            length = int(bytes(self.buffer[:4]).decode("ascii"), 16) if self.buffer[:4].isalnum() else -1
        except (ValueError, UnicodeDecodeError):
            length = -1
        if length == 0:
            del self.buffer[:4]
            return b""
        if not 4 < length <= PACKET_BYTES_MAX:
            raise Malformed("a packet has a wrong length")
        if len(self.buffer) < length:
            return None
        data = bytes(self.buffer[4:length])
        del self.buffer[:length]
        return data
