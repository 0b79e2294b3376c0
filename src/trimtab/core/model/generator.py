"""A Generator: Applications that are made from what is in Git, one for each element that is found there."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .kind import Metadata, Strict
from .selector import Selector


class Globs(Strict, frozen=True):
    """Paths in a repository. `*` is any part of one name, `**` any number of folders; what begins with a dot has to be named."""

    include: Annotated[list[str], Meta(min_length=1, description="Paths that are elements.")]
    exclude: Annotated[list[str], Meta(description="Paths that are none, with everything below them.")] = []
    repository: Annotated[str, Meta(description='URL or path of the repository; "" is the configuration repository itself.')] = ""
    revision: Annotated[
        str, Meta(description='Branch, tag, full commit id, or a range of versions; "" is the default branch.')
    ] = ""


class Elements(Strict, frozen=True):
    """Where elements come from. Exactly one is said."""

    directories: Annotated[Globs | None, Meta(description="Each directory: `${path}`, `${path.basename}`.")] = None
    files: Annotated[
        Globs | None, Meta(description="Each document in YAML and JSON files: `${file.FIELD}`, and `${path}` of its directory.")
    ] = None
    environments: Annotated[
        Selector | None, Meta(description="Each Environment: `${environment.name}`, `${environment.labels.LABEL}`.")
    ] = None
    elements: Annotated[list[dict[str, Any]] | None, Meta(description="What is written here: `${element.FIELD}`.")] = None


class Generate(Elements, frozen=True):
    """Where elements come from, or two of those, each of the one with each of the other."""

    matrix: Annotated[list[Elements] | None, Meta(description="Each element of the first with each element of the second.")] = (
        None
    )


class ApplicationBudget(Strict, frozen=True):
    """How many Applications may disappear without approval. More than `percent` of all *and* more than `applications` are held."""

    percent: Annotated[int, Meta(ge=0, le=100, description="Share of its Applications, in percent.")] = 50
    applications: Annotated[int, Meta(ge=0, description="Number of Applications that may always go.")] = 3


class GeneratorSpec(Strict, frozen=True):
    """From what, and what is made of it."""

    generate: Annotated[list[Generate], Meta(min_length=1, description="Where elements come from.")]
    template: Annotated[
        dict[str, Any],
        Meta(description="The Application that is made of each element: `metadata` and `spec`, with `${…}` for what differs."),
    ]
    removal: Annotated[ApplicationBudget, Meta(description="How many of its Applications may disappear without approval.")] = (
        ApplicationBudget()
    )


class Generator(Strict, frozen=True):
    """Makes Applications."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[GeneratorSpec, Meta(description="What is declared.")]


class Generated(msgspec.Struct, frozen=True):
    """Where an Application comes from: the Generator, and the element in words."""

    generator: str
    element: str

    def __str__(self) -> str:
        return f"generator {self.generator}: {self.element}"


class Leaving(msgspec.Struct, frozen=True):
    """An Application that a Generator made, and makes no more. ``held`` is why nothing of it is removed without approval, or ""."""

    generator: str
    held: str = ""
