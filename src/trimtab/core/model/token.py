"""A Token: what a client shows to say whose it is. The record has a digest of it and never the token itself."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .rights import TokenScope


class Token(msgspec.Struct, frozen=True, rename="camel"):
    """``id`` names it to people, ``digest`` recognises it. ``used`` is coarse (an hour), None when it never was."""

    id: str
    user: str
    digest: str
    created: datetime
    expires: datetime
    by: str = ""
    description: str = ""
    scope: TokenScope = TokenScope()
    used: datetime | None = None
    revoked: datetime | None = None
