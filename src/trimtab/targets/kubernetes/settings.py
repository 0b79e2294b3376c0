"""``spec.target`` of an Environment on a Kubernetes cluster, besides its kind."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SOURCE_CHARACTERS_MAX = 64 * 1024
RULES_MAX = 200


class CelRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Expressions over `metadata`, `spec`, `status`, `data`, `kind`, `apiVersion` and `object`, each true or false.

    Asked in the order degraded, suspended, progressing, healthy; the first that is true decides, and none means progressing.
    """

    healthy: Annotated[str, Meta(description="When the object is well.")]
    degraded: Annotated[str, Meta(description="When it does not come right by itself.")] = ""
    suspended: Annotated[str, Meta(description="When somebody has halted it on purpose.")] = ""
    progressing: Annotated[str, Meta(description="When it is on its way.")] = ""
    message: Annotated[str, Meta(description="Gives the text for people, unless all is well.")] = ""


class UserRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the health of objects of a kind is told. Exactly one of `cel` and `lua` is there."""

    group: Annotated[str, Meta(description='API group; "" is the core group, `*` stands for any text.')]
    kind: Annotated[str, Meta(description="Kind; `*` stands for any text.")]
    cel: Annotated[CelRule | None, Meta(description="The rule as CEL expressions.")] = None
    lua: Annotated[
        str,
        Meta(
            description="The rule as a Lua script as Argo CD takes it: it reads the global `obj` and returns a table with `status` "
            "(Healthy, Progressing, Degraded, Suspended, Missing, Unknown) and `message`."
        ),
    ] = ""

    @property
    def language(self) -> Literal["cel", "lua"]:
        return "lua" if self.cel is None else "cel"

    @property
    def name(self) -> str:
        return f"{self.group}/{self.kind}" if self.group else self.kind

    def problem(self) -> str:
        """What is wrong with its form; "" when nothing is."""
        if (self.cel is None) == (not self.lua):
            return "says neither or both of `cel` and `lua`"
        size = len(self.lua) if self.cel is None else sum(len(each) for each in msgspec.structs.astuple(self.cel))
        return f"is longer than {SOURCE_CHARACTERS_MAX} characters" if size > SOURCE_CHARACTERS_MAX else ""


class KubeconfigSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A kubeconfig that a cluster keeps of another one."""

    namespace: Annotated[str, Meta(description="Namespace of the Secret.")] = ""
    name: Annotated[str, Meta(description='Name of the Secret; "" is none.')] = ""
    key: Annotated[str, Meta(description="The key of its data that has the kubeconfig.")] = "kubeconfig"
    context: Annotated[str, Meta(description='Context of that kubeconfig; "" is its current one.')] = ""


class KubernetesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How a cluster is reached, and what holds for the objects that are applied there."""

    kubeconfig: Annotated[
        str,
        Meta(
            description="Path of a kubeconfig on the server's machine; \"\" is $KUBECONFIG, the user's own, or the cluster it runs in."
        ),
    ] = ""
    context: Annotated[str, Meta(description='Context of the kubeconfig; "" is its current one.')] = ""
    kubeconfig_secret: Annotated[
        KubeconfigSecret,
        Meta(description="A Secret of the cluster that the fields above mean, with the kubeconfig of the cluster to work on."),
    ] = KubeconfigSecret()
    namespace: Annotated[
        str,
        Meta(
            description='Namespace of objects that name none; "" is the first of `namespaces`, else that of the context, or `default`.'
        ),
    ] = ""
    namespaces: Annotated[
        list[Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]],
        Meta(
            max_length=100,
            description="The only namespaces that are looked at and written to; empty is the whole cluster.",
        ),
    ] = []
    conflicts: Annotated[
        Literal["force", "fail"],
        Meta(description="When another manager owns a field that Git sets: take it over, or fail and name the manager."),
    ] = "force"
    propagation: Annotated[
        Literal["foreground", "background"], Meta(description="Whether a removal waits for what an object owns.")
    ] = "background"
    health: Annotated[
        list[UserRule],
        Meta(max_length=RULES_MAX, description="Rules of health of your own; the first that fits an object decides."),
    ] = []
