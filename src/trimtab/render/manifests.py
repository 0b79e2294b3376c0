"""From documents to Manifests: what every object must have, lists taken apart, and the place of each thing that is wrong.

The same rules hold for files of a repository and for what a tool has printed. Nothing here knows a target's kinds: unknown
kinds and fields of a spec are the target's to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from trimtab.core.decide.documents import Document
from trimtab.core.decide.positions import Path, dotted, line_of, lines_of
from trimtab.core.model.errors import Problem
from trimtab.core.model.hook import DELETION_WORDS, HOOK_WORDS, words
from trimtab.core.model.manifest import (
    HOOK_ANNOTATION,
    HOOK_ANNOTATIONS,
    HOOK_DELETE_ANNOTATION,
    WAVE_ANNOTATIONS,
    Body,
    Manifest,
    digest,
)
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.text import escaped, is_safe_line

NAME_CHARACTERS_MAX: Final = 253
NAME_DIGEST_CHARACTERS: Final = 8
_API_VERSION: Final = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}", re.ASCII)
_WAVE: Final = re.compile(r"[-+]?[0-9]{1,9}", re.ASCII)
_WORDS: Final = {HOOK_ANNOTATION: HOOK_WORDS, HOOK_DELETE_ANNOTATION: DELETION_WORDS}
_NOT_A_MANIFEST_REMEDY: Final = (
    "Give it both, or keep files that are no manifests outside the path or in a folder whose name begins with a dot"
)


@dataclass(frozen=True)
class Source:
    """Where documents come from. ``data`` is kept for finding lines; ``made`` says that a tool printed it, so lines mean nothing."""

    file: str
    data: bytes
    made: bool = False

    def problem(self, message: str, document_line: int, path: Path, remedy: str) -> Problem:
        line = 0 if self.made else line_of(self.data, self.file, document_line, path)
        return Problem(message, self.file, line, dotted(path), remedy)


@dataclass(frozen=True)
class _Item:
    body: Body
    path: Path


def manifests(document: Document, source: Source) -> Iterator[Manifest | Problem]:
    """The Manifests of one document, in order; a Problem for each thing that is wrong with one."""
    items = list(_items(document.value, ()))
    in_list = [item.path for item in items if isinstance(item, _Item) and item.path]
    lines = lines_of(source.data, source.file, document.line, in_list) if in_list and not source.made else {}
    for item in (_named(item) if isinstance(item, _Item) else item for item in items):
        if not isinstance(item, _Item):
            yield source.problem(item[0], document.line, item[1], _NOT_A_MANIFEST_REMEDY)
            continue
        problems = list(_wrong(item.body))
        for message, path, remedy in problems:
            yield source.problem(message, document.line, item.path + path, remedy)
        if not problems:
            yield Manifest(_ref(item.body), item.body, source.file, 0 if source.made else lines.get(item.path, document.line))


def twice(first: Manifest, second: Manifest) -> Problem:
    """Two Manifests of one identity: the second one's place, with the first one's in the words."""
    where = f"{first.file}:{first.line}" if first.line else first.file
    name = escaped(str(second.ref))
    return Problem(
        f"{name} is declared twice, first in {where}",
        second.file,
        second.line,
        "metadata.name",
        "Rename or remove one of the two",
    )


def check_unique(found: list[Manifest]) -> Iterator[Problem]:
    seen: dict[Identity, Manifest] = {}
    for manifest in found:
        first = seen.setdefault(manifest.ref.identity, manifest)
        if first is not manifest:
            yield twice(first, manifest)


def _items(value: Any, path: Path) -> Iterator[_Item | tuple[str, Path]]:
    """The objects in a document: itself, or those of a List, however deep."""
    if not isinstance(value, dict):
        what = "a list" if isinstance(value, list) else "a single value"
        yield f"this is {what}, not an object with apiVersion and kind", path
    elif not value:
        return
    elif _is_list(value):
        for index, item in enumerate(value["items"] or []):
            yield from _items(item, (*path, "items", index))
    else:
        yield _Item(value, path)


def _named(item: _Item) -> _Item:
    """A hook that asks for a name to be made up gets one: the same for the same content, so that it is known again."""
    metadata = item.body.get("metadata")
    if not isinstance(metadata, dict) or "name" in metadata or not isinstance(metadata.get("generateName"), str):
        return item
    notes = metadata.get("annotations")
    if not isinstance(notes, dict) or not any(name in notes for name in HOOK_ANNOTATIONS):
        return item
    given = metadata["generateName"] + digest(item.body).removeprefix("sha256:")[:NAME_DIGEST_CHARACTERS]
    named = {name: value for name, value in metadata.items() if name != "generateName"} | {"name": given}
    return _Item({**item.body, "metadata": named}, item.path)


def _is_list(value: Body) -> bool:
    kind = value.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List") or "items" not in value or "spec" in value:
        return False
    return isinstance(value["items"], list) or value["items"] is None


def _wrong(body: Body) -> Iterator[tuple[str, Path, str]]:
    """(message, field, remedy) for each thing that no object may have or lack."""
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if not api_version and not kind:
        yield "this is no manifest: it has neither apiVersion nor kind", (), _NOT_A_MANIFEST_REMEDY
        return
    if not isinstance(api_version, str) or not _API_VERSION.fullmatch(api_version):
        yield (
            _no_text(api_version),
            ("apiVersion",),
            'Write "version" or "group/version", such as host.trimtab.dev/v1',
        )
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        yield _no_text(kind), ("kind",), "Write the name of a kind, such as Process"
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        yield "this is missing or no mapping", ("metadata",), "Add metadata with a name"
        return
    yield from _wrong_name(metadata)
    for field in ("labels", "annotations"):
        yield from _wrong_texts(metadata, field)


def _wrong_name(metadata: Body) -> Iterator[tuple[str, Path, str]]:
    name, namespace = metadata.get("name"), metadata.get("namespace", "")
    if name is None and "generateName" in metadata:
        remedy = "Give it a fixed metadata.name; only a hook may go without"
        yield "generateName makes a new object at each apply", ("metadata", "generateName"), remedy
    elif not _is_name(name):
        yield (
            _no_text(name),
            ("metadata", "name"),
            "Give it a name without slashes, blanks and control characters",
        )
    if namespace and not _is_name(namespace):
        remedy = "Give it the name of a namespace, or leave it out"
        yield _no_text(namespace), ("metadata", "namespace"), remedy


def _is_name(value: object) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX or value in (".", ".."):
        return False
    return "/" not in value and value.split() == [value] and is_safe_line(value)


def _wrong_texts(metadata: Body, field: str) -> Iterator[tuple[str, Path, str]]:
    texts = metadata.get(field)
    if texts is None:
        return
    if not isinstance(texts, dict):
        yield "this is no mapping", ("metadata", field), "Write names and texts, one per line"
        return
    for name, text in texts.items():
        if not isinstance(text, str):
            yield f'the value of "{escaped(name)}" is not text', ("metadata", field, name), "Put the value in quotes"
        elif field == "annotations" and name in WAVE_ANNOTATIONS and not _WAVE.fullmatch(text):
            remedy = 'Write a whole number in quotes, such as "-1"'
            yield f'the wave "{escaped(text)}" is no whole number', ("metadata", field, name), remedy
        elif field == "annotations" and name in _WORDS and (wrong := [one for one in words(text) if one not in _WORDS[name]]):
            remedy = f"Use one or several of: {', '.join(sorted(_WORDS[name]))}"
            yield f'"{escaped(wrong[0])}" is not known', ("metadata", field, name), remedy


def _no_text(value: object) -> str:
    if value is None or value == "":
        return "this is missing"
    if not isinstance(value, str):
        return "this is not text, as YAML reads it without quotes"
    return f'"{escaped(value, characters_max=80)}" is not valid'


def _ref(body: Body) -> ObjectRef:
    metadata = body["metadata"]
    return ObjectRef(body["apiVersion"], body["kind"], metadata.get("namespace") or "", metadata["name"])
