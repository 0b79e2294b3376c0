"""What labels an Environment must have to be meant."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .kind import Strict


class Requirement(Strict, frozen=True):
    """What a label has to be."""

    key: Annotated[str, Meta(pattern=r"\S", description="The label.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"],
        Meta(
            description="`In`, `NotIn`: its value is, or is not, among `values`; `Exists`, `DoesNotExist`: it is there, or is not."
        ),
    ]
    values: Annotated[list[str], Meta(description="For `In` and `NotIn`.")] = []


class Selector(Strict, frozen=True):
    """Labels that an Environment must have. Everything that is said must hold; `{}` is every Environment that is declared."""

    match_labels: Annotated[dict[str, str], Meta(description="Labels with their values.")] = {}
    match_expressions: Annotated[list[Requirement], Meta(description="More that must hold of labels.")] = []
