"""Where an API server is and who we are there: the values that every way of configuring a client ends in.

A file is named by its Path and read when it is used, because tokens and certificates in files change while we run. What is secret
does not show in a `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Material = bytes | Path
"""PEM text, or the file that it is in."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """``server`` is an http or https URL without a slash at its end. ``authority`` None: the machine's own authorities.

    ``proxy``: a URL; "" means what the environment says.
    """

    server: str
    authority: Material | None = None
    insecure: bool = False
    server_name: str = ""
    proxy: str = ""
    compress: bool = True
    plugin_config: Any = None
    """What the kubeconfig holds for exec plugins about this cluster, told to those that ask."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A program that prints credentials (client.authentication.k8s.io). ``version`` is "v1" or "v1beta1"."""

    command: str
    version: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    tells_cluster: bool = False
    install_hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Impersonation:
    """Act as somebody else, with that one's rights: the headers of the Kubernetes authentication page."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class User:
    """``token_file`` wins over ``token``, which then serves while the file cannot be read.
    ``plugin`` is asked only where there is neither token nor certificate.
    """

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    certificate: Material | None = field(default=None, repr=False)
    key: Material | None = field(default=None, repr=False)
    plugin: Plugin | None = None
    impersonation: Impersonation | None = None


@dataclass(frozen=True, kw_only=True)
class Connection:
    """All that a client needs. ``name`` is that of the context, for people; ``namespace`` is its default one."""

    cluster: Cluster
    user: User = field(default_factory=User)
    namespace: str = "default"
    name: str = ""
