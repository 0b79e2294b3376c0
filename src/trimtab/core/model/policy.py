"""The kind `Policy`: a rule that judges what a Change would do, before it is merged.

It is read at the target branch, so a Change cannot weaken the rule that judges it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .kind import Metadata, Strict


class PolicySpec(Strict, frozen=True):
    """What is judged, and by what: either `rule` or `command`."""

    description: Annotated[str, Meta(description="What the rule is for; shown to whoever runs into it.")] = ""
    level: Annotated[Literal["deny", "warn"], Meta(description="`deny` stops the merge, `warn` is only said.")] = "deny"
    each: Annotated[
        Literal["object", "step", "plan", "change"],
        Meta(
            description="What the rule is asked about: every object that the Change creates or alters, every step of its plans, "
            "every Environment's plan, or the Change once."
        ),
    ] = "object"
    environments: Annotated[
        list[str], Meta(description="Globs of Environments; empty is every one. Not for `each: change`.")
    ] = []
    applications: Annotated[list[str], Meta(description="Globs of Applications; empty is every one.")] = []
    kinds: Annotated[list[str], Meta(description="Globs of kinds, as `Kind` or `group/Kind`, for objects and steps.")] = []
    rule: Annotated[
        str,
        Meta(
            description="CEL: true allows; false denies with `message`; a text, or a list of texts, says what is wrong (empty: nothing)."
        ),
    ] = ""
    message: Annotated[str, Meta(description="What is said when `rule` is false.")] = ""
    remedy: Annotated[str, Meta(description="What to do about it.")] = ""
    timezone: Annotated[str, Meta(description="The zone of `time.weekday`, `time.hour` and the like, as `Europe/Berlin`.")] = (
        "UTC"
    )
    command: Annotated[
        str,
        Meta(
            pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$",
            description="An external checker that the operator has given the server under this name; it reads what `rule` would.",
        ),
    ] = ""


class Policy(Strict, frozen=True):
    """A rule that judges what a Change would do."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[PolicySpec, Meta(description="What is declared.")] = PolicySpec()

    @property
    def name(self) -> str:
        return self.metadata.name
