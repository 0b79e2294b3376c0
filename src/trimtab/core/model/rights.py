"""Who asks (Principal), for what (Action), on what (Resource), and the answer (Allowed or Denied)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

OPERATOR = "operator"
"""What the holder of the data directory's own token is called on the record. No User can have this name."""


class Action(StrEnum):
    """What a right is about. `rights.md` has the roles that hold each."""

    READ = "read"
    PROPOSE = "propose"
    REVIEW = "review"
    MERGE = "merge"
    DEPLOY = "deploy"
    ADMINISTER = "administer"
    EMERGENCY = "emergency"


class Resource(msgspec.Struct, frozen=True):
    """What an act is on. Say all that is known: a Grant limited to an Environment allows nothing on a Resource that names none."""

    repository: str = ""
    project: str = ""
    environment: str = ""
    path: str = ""
    application: str = ""

    def __str__(self) -> str:
        said = [f"{name} {value}" for name in self.__struct_fields__ if (value := getattr(self, name))]
        return ", ".join(said) or "everything"


class TokenScope(msgspec.Struct, frozen=True, rename="camel"):
    """What a token is narrowed to. Each field holds patterns; an empty one narrows nothing. It never adds a right."""

    actions: tuple[Action, ...] = ()
    projects: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()


class Principal(msgspec.Struct, frozen=True):
    """Who asks. ``user`` is the identity, whichever ``token`` (an id, never the secret) was shown: two tokens of one User are one person.

    ``operator`` is the holder of the data directory's token, the key of the machine.
    """

    user: str
    token: str = ""
    scope: TokenScope = TokenScope()
    operator: bool = False

    @property
    def name(self) -> str:
        """What stands on the record."""
        return self.user


class Allowed(msgspec.Struct, frozen=True):
    """``ungranted`` is True when only the operator's key allows it: no Grant does, so it is told loudly."""

    ungranted: bool = False


class Denied(msgspec.Struct, frozen=True):
    """``reason`` says what is missing, ``who_can`` names Groups and Users that could do it (a few of them)."""

    reason: str
    who_can: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """Whom to ask."""
        if not self.who_can:
            return "Nobody is granted this; declare a Grant in .trimtab/, or ask the operator"
        return f"Ask {', '.join(self.who_can)}"


class Refusal(msgspec.Struct, frozen=True):
    """Why nobody is let in: ``status`` is 401 (who are you?), 429 (too many failures) or 503 (not yet); wait ``retry_after`` seconds."""

    reason: str
    remedy: str
    status: int = 401
    retry_after: int = 0
