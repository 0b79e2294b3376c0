"""Signatures of commits: what git found, and the keys that it was asked to believe."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

State = Literal["good", "unsigned", "unknown", "bad", "expired", "revoked"]


class Signature(msgspec.Struct, frozen=True):
    """``user`` is whose key made it, "" where no declared key did. ``detail`` is the key's fingerprint, or what git said."""

    state: State
    user: str = ""
    detail: str = ""


class SigningKeys(msgspec.Struct, frozen=True):
    """(User, public key) of every key that counts."""

    ssh: tuple[tuple[str, str], ...] = ()
    openpgp: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """The same for the same keys."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32]
