"""The text of a token, its digest, and whether it is good now.

A token is 256 bits of chance behind `ttk_`, with a checksum behind it, so that scanners find one that leaked and a slip of the
keyboard costs no look-up. Only its SHA-256 is kept. A slow hash is for passwords, which people choose and machines guess; nobody
guesses 256 bits, and each request pays for the hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from trimtab.core.model.rights import Principal
from trimtab.core.model.token import Token

from .rights import Directory

PREFIX: Final = "ttk_"
ID_CHARACTERS: Final = 12
DAYS_DEFAULT: Final = 90
DAYS_MAX: Final = 366
TOKENS_MAX: Final = 100
"""Good tokens of one User."""
KEPT_DAYS: Final = 30
"""How long one that has ended is still listed."""
USED_EVERY: Final = timedelta(hours=1)
_FORM: Final = re.compile(r"ttk_([0-9a-f]{64})([0-9a-f]{8})")


def text(secret: str) -> str:
    """The token for 64 hexadecimal characters of chance."""
    return f"{PREFIX}{secret}{_checksum(secret)}"


def well_formed(token: str) -> bool:
    """False for what cannot be a token, whoever wrote it."""
    found = _FORM.fullmatch(token)
    return found is not None and _checksum(found[1]) == found[2]


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def ended(token: Token, people: Directory, now: datetime) -> str:
    """Why the token is not good now; "" when it is."""
    if token.revoked is not None:
        return "the token was revoked"
    if now >= token.expires:
        return f"the token expired on {token.expires:%Y-%m-%d}"
    if not people.known(token.user):
        declared = token.user in people.users
        return f"{token.user} is disabled in Git" if declared else f"Git declares no User {token.user} any more"
    return ""


def principal(token: Token) -> Principal:
    """Whom the token stands for."""
    return Principal(token.user, token.id, token.scope)


def to_forget(tokens: Iterable[Token], now: datetime) -> list[Token]:
    """Those that ended so long ago that nobody asks any more."""
    return [one for one in tokens if min(one.expires, one.revoked or one.expires) < now - timedelta(days=KEPT_DAYS)]


def _checksum(secret: str) -> str:
    return hashlib.sha256(f"{PREFIX}{secret}".encode()).hexdigest()[:8]
