"""What every kind of Trimtab's own configuration shares: it is strict, and something names it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, description="Lower-case letters, digits and dashes; at most 63 characters.")]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a document: an unknown field is an error."""


class Metadata(Strict, frozen=True):
    """What names a document."""

    name: Name
    labels: Annotated[dict[str, str], Meta(description="Free labels, for selecting.")] = {}
    annotations: Annotated[dict[str, str], Meta(description="Free annotations, for people and tools.")] = {}
