"""What two trees have that is different, file by file, as unified diffs. Everything is bounded; what is no text is named and not shown."""

from __future__ import annotations

import asyncio
import difflib
from collections import Counter
from collections.abc import Iterable

from trimtab.core.model.changeviews import FileDiffView
from trimtab.core.model.errors import TrimtabError
from trimtab.ports.git import Tree, TreeEntry

FILES_MAX = 300
FILE_BYTES_MAX = 256 * 1024
LINES_MAX = 2_000
"""Of one file on one side: comparing takes longer than its length says."""
DIFF_CHARACTERS_MAX = 2_000_000
ALIKE_MAX = 8_000
"""Pairs of lines that are the same; with more, comparing is left out, and one side stands below the other."""
_MISSING = "\\ No newline at end of file"


async def file_diffs(before: Tree, after: Tree, paths: Iterable[str]) -> tuple[list[FileDiffView], bool]:
    """In the order of their paths, and whether there are more than are shown. Others have their turn after each file."""
    wanted = sorted(paths)
    found: list[FileDiffView] = []
    characters = 0
    for path in wanted[:FILES_MAX]:
        found.append(_file(before, after, path))
        characters += len(found[-1].diff)
        if characters > DIFF_CHARACTERS_MAX:
            break
        await asyncio.sleep(0)
    return found, len(found) < len(wanted)


def _file(before: Tree, after: Tree, path: str) -> FileDiffView:
    old, new = before.entry(path), after.entry(path)
    status = "added" if old is None else "removed" if new is None else "changed"
    try:
        texts = [_text(tree, entry) for tree, entry in ((before, old), (after, new))]
    except (UnicodeDecodeError, ValueError):
        return FileDiffView(path, status, "binary", "")
    except TrimtabError as error:
        return FileDiffView(path, status, error.message, "")
    lines = [text.splitlines(keepends=True) for text in texts]
    if max(len(one) for one in lines) > LINES_MAX:
        return FileDiffView(path, status, f"more than {LINES_MAX} lines", "")
    note = "only its mode" if texts[0] == texts[1] else ""
    return FileDiffView(path, status, note, _unified(lines[0], lines[1], path, old, new))


def _text(tree: Tree, entry: TreeEntry | None) -> str:
    """Raises ValueError for what is no text."""
    if entry is None:
        return ""
    if entry.type == "submodule":
        return f"Subproject commit {entry.id}\n"
    body = tree.read(entry.path, bytes_max=FILE_BYTES_MAX)
    if b"\0" in body:
        raise ValueError("binary")
    return body.decode("utf-8")


def _unified(old: list[str], new: list[str], path: str, before: TreeEntry | None, after: TreeEntry | None) -> str:
    lines: list[str] = []
    source, target = f"a/{path}" if before is not None else "/dev/null", f"b/{path}" if after is not None else "/dev/null"
    counts = Counter(old)
    if sum(counts[line] for line in new) > ALIKE_MAX:
        whole = [f"--- {source}\n", f"+++ {target}\n", f"@@ -1,{len(old)} +1,{len(new)} @@\n"]
        found: Iterable[str] = [*whole, *(f"-{line}" for line in old), *(f"+{line}" for line in new)]
    else:
        found = difflib.unified_diff(old, new, source, target)
    for line in found:
        lines.append(line.removesuffix("\n"))
        if not line.endswith("\n"):
            lines.append(_MISSING)
    return "\n".join(lines) + "\n" if lines else ""
