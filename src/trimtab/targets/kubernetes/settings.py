"""``spec.target`` of an Environment on a Kubernetes cluster, besides its kind."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


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
