"""docs/reference/git.md names the bounds of the code, and the refs that it treats apart."""

from __future__ import annotations

import re
from pathlib import Path

from trimtab.git.hosting import Limits, names
from trimtab.git.hosting.limits import MIB

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "git.md").read_text(encoding="utf-8")


def test_every_bound_is_that_of_the_code() -> None:
    rows = dict(re.findall(r"^\| ([a-z][^|]+?) \| ([^|]+?) \|$", PAGE, flags=re.MULTILINE))
    limits = Limits()
    assert {name: value for name, value in rows.items() if value[0].isdigit()} == {
        "one push": f"{limits.pack_bytes // MIB} MiB",
        "one object, unpacked": f"{limits.object_bytes // MIB} MiB",
        "refs in one push": f"{limits.updates}",
        "refs in a repository": f"{limits.refs}",
        "length of a ref's name": f"{limits.ref_bytes} bytes",
        "push options": f"{limits.options} of {limits.option_bytes} bytes each",
        "work of the processor for one push": f"{limits.cpu_seconds} s",
        "a client that sends or takes nothing": f"{limits.idle_seconds:g} s",
        "a client that is slow": f"{limits.rate_bytes} bytes a second, after the first {limits.idle_seconds:g} s",
        "fetches at once": f"{limits.fetches}, of one User {limits.fetches_each}",
        "pushes at once": f"{limits.pushes}, of one User {limits.pushes_each}",
        "a repository's name": f"{names.NAME_MAX} characters, in up to {names.PARTS_MAX} parts",
    }


def test_every_kind_of_ref_is_told() -> None:
    for prefix in (*names.PROTECTED, *names.PUSHED, *names.HIDDEN):
        assert f"`{prefix}" in PAGE
