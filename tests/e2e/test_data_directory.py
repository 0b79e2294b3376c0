"""What docs/reference/settings.md says of the data directory is what is there."""

from __future__ import annotations

import re
from pathlib import Path

from trimtab.store.files import connect, disconnect
from trimtab.store.upgrade import migrate
from trimtab.testing.served import until

from .conftest import World, process, several, task, text_file
from .console import ROOT

PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## The data directory")[2]
NAMED = {name for cell in re.findall(r"^\| (`.*?) \|", TABLE, flags=re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)}


def test_every_file_of_the_data_directory_is_explained_and_every_explained_one_is_there(world: World) -> None:
    first = several(process("web", ports=[{"name": "http"}]), text_file("motd", "hello\n"), task("migrate", "echo done"))
    world.repository.commit({"shop/all.yaml": first})
    # What is the operator's own to write.
    world.data.mkdir(parents=True, exist_ok=True)
    netrc = world.data / "netrc"
    netrc.touch(mode=0o600)
    _of_an_older_version(world.data / "trimtab.db")
    served = world.serve()
    served.healthy(world.repository.git("rev-parse", "HEAD"))
    served.healthy(world.repository.commit({"shop/all.yaml": first.replace("hello", "good morning")}))
    # The cache is written when those who waited for a rendering have gone on.
    until(lambda: (world.data / "cache").exists())
    there = {
        f"{prefix}{re.sub('schema-[0-9]{4}$', 'schema-NNNN', path.name)}{'/' if path.is_dir() else ''}"
        for prefix, folder in (("", world.data), ("host/", world.data / "host"))
        for path in folder.iterdir()
    }
    assert there == NAMED


def _of_an_older_version(path: Path) -> None:
    """A record that the server has to alter."""
    connection = connect(path, begin="BEGIN IMMEDIATE")
    with connection.begin():
        migrate(connection, version="0001")
    disconnect(connection)
