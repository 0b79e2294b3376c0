"""The kind `Protection`, and what an Environment asks of a plan before it is carried out: who has to approve, and what merges may do."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .kind import Metadata, Name, Strict


class Approvals(Strict, frozen=True):
    """Whose approval is asked for. An approval is of one plan, by its hash; another plan needs another one."""

    required: Annotated[int, Meta(ge=0, le=20, description="How many people have to approve; 0 asks for nobody.")] = 0
    by: Annotated[
        list[Name],
        Meta(description="Groups and Users whose approval counts; empty is everybody who may review here."),
    ] = []
    owners: Annotated[
        bool,
        Meta(description="Ask the owners of the changed paths too, as the CODEOWNERS of the target branch names them."),
    ] = False
    author: Annotated[bool, Meta(description="Whether the author's own approval counts.")] = False
    last_pusher: Annotated[bool, Meta(description="Whether the approval of whoever pushed last counts.")] = False


class EnvironmentApprovals(Approvals, frozen=True):
    """As `Approvals`, of what a Change would do in this Environment. With `required` over 0 nothing new is carried out here unapproved."""

    moved: Annotated[
        Literal["hold", "go"],
        Meta(description="What to do when the plan is not the approved one any more when its turn comes: hold it, or go on."),
    ] = "hold"


class ProtectionSpec(Strict, frozen=True):
    """Which branches, and how Changes get into them."""

    repositories: Annotated[list[str], Meta(description="Globs of hosted Repositories; empty is every one.")] = []
    branches: Annotated[list[str], Meta(description="Globs of branches; empty is the default branch.")] = []
    merge: Annotated[
        list[Literal["merge", "squash", "rebase"]],
        Meta(min_length=1, description="Ways to merge that are allowed; the first is taken where nobody says another."),
    ] = msgspec.field(default_factory=lambda: ["merge"])
    approvals: Annotated[Approvals, Meta(description="Who approves the content of a Change, whatever it would do.")] = Approvals()
    resolved: Annotated[bool, Meta(description="Whether every thread has to be resolved before a merge.")] = True


class Protection(Strict, frozen=True):
    """Rules for branches that move by Changes alone. The default branch of a hosted Repository is protected without one, too."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[ProtectionSpec, Meta(description="What is declared.")] = ProtectionSpec()

    @property
    def name(self) -> str:
        return self.metadata.name
