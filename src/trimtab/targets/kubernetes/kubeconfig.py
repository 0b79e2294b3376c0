"""Kubeconfigs and the in-cluster account, read into a `Connection`. In: bytes, files named by KUBECONFIG, or a Pod's own mount.

Merging as kubectl does it: of each named entry and of `current-context` the first file that has one wins, and relative paths belong
to the file that they stand in. A kubeconfig that did not come from this machine (a Secret, a repository) is read with ``local=False``: it
may neither start programs nor name files here, since whoever can write it would otherwise run and read as this server does.
What is refused is refused with the reason; everything that client-go accepts beyond that is accepted.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trimtab.core.decide import documents
from trimtab.core.model.errors import UserError
from trimtab.core.model.text import escaped

from .connection import Cluster, Connection, Impersonation, Material, Plugin, User

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLUGIN_GROUP = "client.authentication.k8s.io/"
PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"
PLUGIN_VERSIONS = ("v1", "v1beta1")
SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}

Named = dict[str, tuple[dict[str, Any], Path | None]]
"""The entries of a section by name, each with the directory that its relative paths start from (None: it may name no file)."""


def load(environment: Mapping[str, str], *, path: Path | None = None, context: str = "") -> Connection:
    """As kubectl finds it: ``path``, else the files of KUBECONFIG, else ~/.kube/config, else the Pod's own account.

    Raises UserError when there is none, or when what there is cannot be used.
    """
    paths = places(environment, path=path)
    found = [one for one in paths if path or one.exists()]
    if found:
        return _resolve([(_read(one), str(one), one.absolute().parent) for one in found], context, local=True)
    if "KUBERNETES_SERVICE_HOST" in environment:
        return in_cluster(environment)
    raise UserError(
        f"find a cluster: there is no kubeconfig at {', '.join(map(str, paths))}, and this is not a Pod",
        remedy="Set KUBECONFIG to a file, or name one",
    )


def places(environment: Mapping[str, str], *, path: Path | None = None) -> list[Path]:
    """The files that `load` looks for."""
    listed = [Path(each) for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]
    return [path] if path else listed or [Path(environment.get("HOME") or Path.home()) / ".kube" / "config"]


def parse(data: bytes, *, origin: str, context: str = "", local: bool = False) -> Connection:
    """A kubeconfig from somewhere else. ``origin`` names it in errors; ``local`` says that it is to be trusted like a file of ours."""
    return _resolve([(data, origin, Path.cwd() if local else None)], context, local=local)


def in_cluster(environment: Mapping[str, str], *, account: Path = ACCOUNT) -> Connection:
    """The service account of the Pod that we run in. Its token changes about every hour and is read again."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port or not (account / "token").exists():
        raise UserError(
            "use the service account of this Pod: KUBERNETES_SERVICE_HOST and _PORT or the token file are missing",
            remedy="Let the Pod mount its account (automountServiceAccountToken)",
        )
    authority = account / "ca.crt"
    try:
        namespace = (account / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        namespace = ""
    return Connection(
        cluster=Cluster(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            authority=authority if authority.exists() else None,
        ),
        user=User(token_file=account / "token"),
        namespace=namespace or "default",
        name="in-cluster",
    )


def contexts(data: bytes, *, origin: str) -> tuple[str, ...]:
    """The names that ``context`` may be."""
    return tuple(_section(_document(data, origin, local=True), "contexts", origin, None))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"read the kubeconfig {path}: {error.strerror or error}") from error


def _resolve(files: Sequence[tuple[bytes, str, Path | None]], context: str, *, local: bool) -> Connection:
    sections: dict[str, Named] = {section: {} for section in SECTIONS}
    current = context
    for data, origin, directory in files:
        document = _document(data, origin, local=local)
        current = current or _text(document, "current-context", origin)
        for section, named in sections.items():
            for name, entry in _section(document, section, origin, directory).items():
                named.setdefault(name, entry)
    origin = ", ".join(each[1] for each in files)
    if not current:
        raise UserError(f"{origin}: no context is named and there is no current-context", remedy=_known(sections["contexts"]))
    chosen, _ = _named(sections["contexts"], current, "context", origin)
    cluster, directory = _named(sections["clusters"], _text(chosen, "cluster", origin), "cluster", origin)
    user_name = _text(chosen, "user", origin)
    user, user_directory = _named(sections["users"], user_name, "user", origin) if user_name else ({}, directory)
    where = f"{origin}: context {escaped(current)}"
    return Connection(
        cluster=_Reader(cluster, where, directory, local).cluster(),
        user=_Reader(user, where, user_directory, local).user(),
        namespace=_text(chosen, "namespace", origin) or "default",
        name=current,
    )


def _document(data: bytes, origin: str, *, local: bool) -> dict[str, Any]:
    found = documents.read(data, "kubeconfig")
    if found.problems:
        # A message may quote what it is about, and what comes from a Secret is shown to nobody.
        raise UserError(f"{origin}: {found.problems[0]}" if local else f"{origin}: this is not YAML")
    document = found.documents[0].value if found.documents else {}
    if not isinstance(document, dict) or document.get("kind", "Config") != "Config":
        raise UserError(f"{origin}: this is no kubeconfig (kind: Config)")
    return document


def _section(document: dict[str, Any], section: str, origin: str, directory: Path | None) -> Named:
    named: Named = {}
    entries = document.get(section) or []
    if not isinstance(entries, list):
        raise UserError(f"{origin}: {section} is not a list")
    for entry in entries:
        name = _text(entry, "name", f"{origin}: {section}") if isinstance(entry, dict) else ""
        value = entry.get(SECTIONS[section]) or {} if isinstance(entry, dict) else None
        if not isinstance(value, dict):
            raise UserError(f"{origin}: an entry of {section} has no {SECTIONS[section]}")
        if name in named:
            raise UserError(f"{origin}: {section} names {escaped(name)} twice")
        named[name] = (value, directory)
    return named


def _text(entry: dict[str, Any], field: str, where: str) -> str:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}: {field} is not text", remedy="Put it in quotes")
    return value or ""


def _named(named: Named, name: str, what: str, origin: str) -> tuple[dict[str, Any], Path | None]:
    if name not in named:
        raise UserError(f"{origin}: there is no {what} {escaped(name) or '(without a name)'}", remedy=_known(named))
    return named[name]


def _known(named: Named) -> str:
    return "There is " + (", ".join(escaped(name) for name in sorted(named)) or "none at all")


class _Reader:
    """The fields of one cluster or user."""

    def __init__(self, entry: dict[str, Any], where: str, directory: Path | None, local: bool) -> None:
        self._entry, self._where, self._directory, self._local = entry, where, directory, local

    def cluster(self) -> Cluster:
        authority = self._material("certificate-authority")
        insecure = self._flag("insecure-skip-tls-verify")
        if insecure and authority is not None:
            raise self._error("insecure-skip-tls-verify and a certificate-authority exclude each other")
        return Cluster(
            server=self._server(),
            authority=authority,
            insecure=insecure,
            server_name=self._text("tls-server-name"),
            proxy=self._proxy(),
            compress=not self._flag("disable-compression"),
            plugin_config=self._extension(),
        )

    def user(self) -> User:
        if self._text("username") or self._text("password"):
            raise self._error("basic authentication is not supported: Kubernetes has dropped it in 1.19", "Use a token")
        if self._entry.get("auth-provider"):
            raise self._error("auth-provider plugins are gone", "Use the exec plugin of that provider")
        certificate, key = self._material("client-certificate"), self._material("client-key")
        if (certificate is None) != (key is None):
            raise self._error("client-certificate and client-key need each other")
        token, token_file = self._token(), self._file("tokenFile")
        return User(
            token=token,
            token_file=token_file,
            certificate=certificate,
            key=key,
            plugin=None if token or token_file or certificate else self._plugin(),
            impersonation=self._impersonation(),
        )

    def _server(self) -> str:
        server = self._text("server").rstrip("/")
        if server and "://" not in server:
            server = f"https://{server}"
        try:
            parts = urlsplit(server)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or parts.username:
            raise self._error(
                f"server is not a URL of an API server: {escaped(server.rpartition('@')[2])!r}", "Write https://HOST:PORT"
            )
        return server

    def _token(self) -> str:
        token = self._text("token").strip()
        if not token.isascii() or any(character.isspace() or not character.isprintable() for character in token):
            raise self._error("the token has characters that a header cannot carry")
        return token

    def _proxy(self) -> str:
        proxy = self._text("proxy-url")
        if proxy and urlsplit(proxy).scheme not in ("http", "https"):
            raise self._error(f"proxy-url is neither http nor https: {escaped(proxy.partition('@')[2] or proxy)}")
        return proxy

    def _extension(self) -> Any:
        for extension in self._entry.get("extensions") or []:
            if isinstance(extension, dict) and extension.get("name") == PLUGIN_EXTENSION:
                return extension.get("extension")
        return None

    def _plugin(self) -> Plugin | None:
        found = self._entry.get("exec")
        if not found:
            return None
        if not self._local:
            raise self._error("an exec plugin is not run for a kubeconfig that did not come from this machine", "Use a token")
        reader = _Reader(found if isinstance(found, dict) else {}, f"{self._where}: exec", self._directory, local=True)
        return reader.plugin()

    def plugin(self) -> Plugin:
        api = self._text("apiVersion")
        group, _, version = api.rpartition("/")
        if f"{group}/" != PLUGIN_GROUP or version not in PLUGIN_VERSIONS:
            raise self._error(f"apiVersion {escaped(api)!r} is not known", f"Use {PLUGIN_GROUP}v1")
        if self._text("interactiveMode") == "Always":
            raise self._error("it wants to ask somebody (interactiveMode: Always), and nobody is there", "Log in by a token")
        command = self._text("command")
        if not command:
            raise self._error("there is no command")
        if os.sep in command and self._directory is not None:
            command = str(self._directory / command)
        variables = [each for each in self._entry.get("env") or [] if isinstance(each, dict)]
        return Plugin(
            command=command,
            version=version,
            arguments=tuple(str(each) for each in self._entry.get("args") or []),
            environment={str(each.get("name", "")): str(each.get("value", "")) for each in variables},
            tells_cluster=self._flag("provideClusterInfo"),
            install_hint=self._text("installHint"),
        )

    def _impersonation(self) -> Impersonation | None:
        user = self._text("as")
        groups, extra = self._entry.get("as-groups") or [], self._entry.get("as-user-extra") or {}
        if not user:
            if groups or extra or self._text("as-uid"):
                raise self._error("as-groups, as-uid and as-user-extra need as")
            return None
        return Impersonation(
            user=user,
            groups=tuple(map(str, groups)),
            uid=self._text("as-uid"),
            extra={str(name): tuple(map(str, values)) for name, values in extra.items()},
        )

    def _material(self, field: str) -> Material | None:
        """FIELD-data, base64, wins over FIELD, a path."""
        data = self._text(f"{field}-data")
        if not data:
            return self._file(field)
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._error(f"{field}-data is not base64") from error

    def _file(self, field: str) -> Path | None:
        path = self._text(field)
        if not path:
            return None
        if not self._local or self._directory is None:
            raise self._error(f"{field} names a file, which a kubeconfig from elsewhere may not", f"Use {field}-data or token")
        return self._directory / path

    def _text(self, field: str) -> str:
        return _text(self._entry, field, self._where)

    def _flag(self, field: str) -> bool:
        value = self._entry.get(field)
        if value not in (None, True, False):
            raise self._error(f"{field} is neither true nor false")
        return bool(value)

    def _error(self, message: str, remedy: str = "") -> UserError:
        return UserError(f"{self._where}: {message}", remedy=remedy)
