"""What a tool has made, as Manifests: the same rules as for files of a repository, and a Problem names the tool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from trimtab.core.decide import documents
from trimtab.core.decide.documents import Document
from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import Limits
from trimtab.core.model.manifest import Manifest
from trimtab.ports.git import Tree

from . import content
from .manifests import Source, check_unique, manifests
from .plain import failed

_IN_PLACE_BYTES: Final = 64 * 1024


class Printed(NamedTuple):
    """``file`` is what people should look at for this output."""

    file: str
    data: bytes


async def read(tool: str, tree: Tree, path: str, outputs: Sequence[Printed], limits: Limits) -> list[Manifest]:
    """Raises UserError with all that is wrong. Much of it is read in a thread, so that the loop is not held up."""
    if sum(len(one.data) for one in outputs) < _IN_PLACE_BYTES:
        return _read(tool, tree, path, outputs, limits)
    return await asyncio.to_thread(_read, tool, tree, path, outputs, limits)


def _read(tool: str, tree: Tree, path: str, outputs: Sequence[Printed], limits: Limits) -> list[Manifest]:
    problems: list[Problem] = []
    found: list[tuple[str, list[Document]]] = []
    for one in outputs:
        read = documents.read(one.data, one.file, limits=replace(limits, file_bytes=limits.tool_bytes))
        problems += [
            Problem(f"{tool} printed this: {each.message}", one.file, 0, each.field, each.remedy) for each in read.problems
        ]
        found.append((one.file, read.documents))
    return taken(tree, path, found, limits, problems)


def taken(
    tree: Tree, path: str, made: Iterable[tuple[str, list[Document]]], limits: Limits, problems: list[Problem]
) -> list[Manifest]:
    """The Manifests in documents that were made of files. Raises UserError with ``problems`` and all that is wrong besides."""
    found: list[Manifest] = []
    for file, several in made:
        source = Source(file, b"", made=True)
        for document in several:
            for one in manifests(document, source):
                if isinstance(one, Problem):
                    problems.append(one)
                    continue
                manifest, wrong = content.resolve(one, tree, source, document.line)
                found.append(manifest)
                problems += wrong
    problems += check_unique(found)
    if len(found) > limits.manifests:
        text = f"{len(found)} objects; at most {limits.manifests} belong to one Application"
        problems.append(Problem(text, path, remedy="Split the Application"))
    if problems:
        raise failed(tree, path, problems, limits)
    return found
