"""What a repository shows to a client that comes: the answer to `info/refs`, and to the question for refs of protocol 2.

Answers are kept by (repository, what its refs are, protocol, question), so the polls of a hundred clients of an unchanged repository start
no process. For fetches git itself writes them; for pushes they are written here, without the refs that nobody may push to.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator

from trimtab import __version__
from trimtab.core.model.errors import TransientError
from trimtab.git.failures import failure

from .limits import MIB
from .names import HIDDEN, PROTECTED
from .packets import FLUSH, line, packet
from .places import Place

KEPT_BYTES_MAX = 16 * MIB
ZERO = "0" * 40
CAPABILITIES = (
    "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 "
    f"agent=trimtab/{__version__}"
)

UPLOAD_OPTIONS = (
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("uploadpack.keepAlive", "5"),
    ("pack.threads", "2"),
    ("pack.windowMemory", "100m"),
    *(("uploadpack.hideRefs", prefix.rstrip("/")) for prefix in HIDDEN),
)

Key = tuple[object, ...]


class Kept:
    """Answers by their question, the least asked for going first. Those who ask for the same at the same time share one."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._making: dict[Key, asyncio.Task[bytes]] = {}

    async def get(self, key: Key, make: Callable[[], Awaitable[bytes]]) -> bytes:
        known = self._answers.get(key)
        if known is not None:
            self._answers.move_to_end(key)
            return known
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.ensure_future(self._make(key, make))
        return await asyncio.shield(task)

    async def _make(self, key: Key, make: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            answer = await make()
        finally:
            del self._making[key]
        if len(answer) < KEPT_BYTES_MAX // 4:
            self._answers[key] = answer
            self._bytes += len(answer)
        while self._bytes > KEPT_BYTES_MAX:
            self._bytes -= len(self._answers.popitem(last=False)[1])
        return answer


async def for_fetches(place: Place, protocol: str) -> bytes:
    """``protocol`` is the value for GIT_PROTOCOL."""
    return await _upload_pack(place, protocol, b"", "--advertise-refs")


async def refs_asked(place: Place, protocol: str, question: bytes) -> bytes:
    return await _upload_pack(place, protocol, question)


def for_pushes(place: Place) -> bytes:
    return b"".join(_pushable(place))


def _pushable(place: Place) -> Iterator[bytes]:
    shown = {ref: id_ for ref, id_ in place.refs.ids.items() if not ref.startswith((*PROTECTED, "refs/trimtab/"))}
    rows = [(shown[ref], ref) for ref in sorted(shown)] or [(ZERO, "capabilities^{}")]
    for number, (object_id, ref) in enumerate(rows):
        text = f"{object_id} {ref}" + (f"\0{CAPABILITIES}" if number == 0 else "")
        yield line(text)
    yield FLUSH


def announced(service: str, answer: bytes) -> bytes:
    """As the first request of the smart protocol wants it."""
    return packet(f"# service={service}\n".encode()) + FLUSH + answer


async def _upload_pack(place: Place, protocol: str, stdin: bytes, *arguments: str) -> bytes:
    options = place.git.environment(*UPLOAD_OPTIONS)
    environment = {**options, **({"GIT_PROTOCOL": protocol} if protocol else {})}
    result = await place.git.local(
        place.path, "upload-pack", "--stateless-rpc", *arguments, str(place.path), stdin=stdin, environment=environment
    )
    if result.code:
        error = failure(f"read the refs of {place.title}", result, known=True)
        raise TransientError(error.message, remedy=error.remedy)
    return result.stdout
