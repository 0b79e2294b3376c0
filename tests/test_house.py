"""Rules that hold for every file of the project, whoever writes it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "trimtab"

PURE = {
    "__future__",
    "abc",
    "base64",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fnmatch",
}
PURE |= {
    "binascii",
    "struct",
    "functools",
    "graphlib",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "statistics",
    "string",
}
PURE |= {"textwrap", "types", "typing", "unicodedata", "urllib", "msgspec", "yaml", "trimtab"}
"""What core may import: modules that turn values into values."""


def tracked(*suffixes: str) -> list[Path]:
    """The files in git, or, where the sources were unpacked from an archive, all there are."""
    listing = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        tops = [ROOT / name for name in ("src", "tests", "docs", "examples", "bench", "requirements")]
        paths = [path for top in tops for path in top.rglob("*") if "__pycache__" not in path.parts]
    return [path for path in paths if path.is_file() and path.name != "LICENSE" and (not suffixes or path.suffix in suffixes)]


def lines_matching(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(path.read_bytes().decode("utf-8", errors="replace").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return found


def test_no_file_names_a_package_registry() -> None:
    registries = ["pypi" + ".org", "python" + "hosted", "registry." + "npmjs", "proxy.golang" + ".org", "crates" + ".io"]
    pattern = re.compile("|".join(map(re.escape, registries)) + r"|^--(extra-)?index-url|^--find-" + "links")
    assert lines_matching(pattern, tracked()) == []


def test_no_file_names_a_place_that_only_one_machine_has() -> None:
    places = "|".join(re.escape(place) for place in {str(ROOT) + "/", str(Path(sys.prefix)) + "/", "/ro" + "ot/", "/Us" + "ers/"})
    assert lines_matching(re.compile(rf"(^|[^.\w])({places})"), tracked()) == []


def test_nothing_is_left_for_later() -> None:
    words = "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "NotImplemented" + "Error", r"mark\.sk" + "ip", r"mark\.xf" + "ail"])
    assert lines_matching(re.compile(rf"\b({words}|pytest\.sk" + r"ip)\b"), tracked()) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_core_imports_only_what_turns_values_into_values() -> None:
    strangers = []
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            strangers += [f"{path.relative_to(ROOT)}: {name}" for name in names if name.partition(".")[0] not in PURE]
    assert strangers == []


@pytest.mark.parametrize("path", sorted(tracked(".md")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_in_a_page_leads_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        page = (path.parent / parts.path).resolve() if parts.path else path
        if not page.exists() or (parts.fragment and parts.fragment not in anchors(page)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The fragments that headings of a page can be reached by, as forges make them."""
    headings = re.findall(r"^#+\s+(.*?)\s*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in folder.glob("[0-9]*.md") if f"({page.name})" not in index] == []


def test_every_folder_of_the_package_has_its_paragraph_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    parts = [path for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))]
    parts += [path for path in PACKAGE.glob("*.py") if path.stem != "__init__"]
    names = [f"{path.name}/" if path.is_dir() else path.name for path in parts]
    assert [name for name in names if f"\n**`{name}`**" not in page] == []


def test_the_import_contract_names_every_folder_that_the_architecture_names() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    contract = (ROOT / ".importlinter").read_text(encoding="utf-8")
    named = re.findall(r"^\*\*`(\w+)(?:/|\.py)`\*\*", page, flags=re.MULTILINE)
    assert named
    assert [name for name in named if not re.search(rf"^ +.*\b{name}\b", contract, flags=re.MULTILINE)] == []


def test_the_lock_holds_hashes_only() -> None:
    for name in ("run.txt", "build.txt", "image.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert re.findall(r"^(?!\s+--hash=sha256:[0-9a-f]{64}|[a-z0-9._-]+==).+$", text, flags=re.MULTILINE) == []


def test_every_command_that_make_offers_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    internal = {"environment", "run-environment"}
    assert [
        name for name in phony[1].split() if name not in internal and not re.search(rf"^{name}:.*##", makefile, re.MULTILINE)
    ] == []
