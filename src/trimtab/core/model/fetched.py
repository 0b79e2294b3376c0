"""What a rendering is made of that stands in no Git repository: where it comes from, and which file says so."""

from __future__ import annotations

import msgspec


class Fetched(msgspec.Struct, frozen=True):
    """Content that is fetched from ``address``. ``within`` is the chart repository that offers it; "" for that one itself."""

    address: str
    within: str = ""
    file: str = ""
    line: int = 0
    field: str = ""
