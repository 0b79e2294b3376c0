"""Charts for tests: as files of a tree, and as archives, good and bad ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from typing import Any

from trimtab.core.model.config import Chart, Helm, Jsonnet, Plugin, Source
from trimtab.ports.renderer import RenderRequest
from trimtab.testing.trees import Node

WEB = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-web
  namespace: {{ .Release.Namespace }}
data:
  size: {{ .Values.size | quote }}
"""
HEADER = "apiVersion: v2\nname: shop\nversion: 1.0.0\n"
SHOP: dict[str, Node] = {
    "shop/Chart.yaml": HEADER,
    "shop/values.yaml": "size: small\n",
    "shop/templates/web.yaml": WEB,
    "shop/templates/_names.tpl": '{{ define "shop.name" }}shop{{ end }}',
    "shop/templates/NOTES.txt": "Thank you for installing {{ .Chart.Name }}",
}


def asked(path: str = "shop", *, name: str = "web", chart: Chart | None = None, renderer: str = "", **more: Any) -> RenderRequest:
    source = Source(path=path, chart=chart or Chart(), helm=Helm(**more))
    return RenderRequest(name, "host", path, renderer, source)


def jsonnet(path: str = "app", **more: Any) -> RenderRequest:
    return RenderRequest("web", "host", path, "", Source(path=path, jsonnet=Jsonnet(**more)))


def plugin(name: str, path: str = "app", **parameters: str) -> RenderRequest:
    return RenderRequest("web", "host", path, "plugin", Source(path=path, plugin=Plugin(name, parameters)))


def archive(files: Mapping[str, str], *, top: str = "shop", more: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    """The same bytes for the same files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{top}/{path}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        for entry in more:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return gzip.compress(made.getvalue(), mtime=0)


def packed(name: str = "shop", version: str = "1.0.0", **more: str) -> bytes:
    """A chart as its publisher packs it, with one object named after it."""
    header = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
    body = (
        f'apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: "{{{{ .Release.Name }}}}-{name}"}}\ndata: {{version: "{version}"}}\n'
    )
    return archive({"Chart.yaml": header, "templates/one.yaml": body, **more}, top=name)
