"""Real repositories for the tests of `trimtab.git`, and the GitRepositories that reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from trimtab.git import GitRepositories

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}


class Repository:
    """A repository on disk, driven by the git command line. ``path`` is a work tree, or bare."""

    def __init__(self, path: Path, *, bare: bool = False, branch: str = "main", template: Path | None = None) -> None:
        self.path = path
        if template is not None:
            shutil.copytree(template, path, symlinks=True)
            return
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--template=", f"--initial-branch={branch}", *(["--bare"] if bare else []))

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(["git", *arguments], cwd=self.path, env=GIT_ENVIRONMENT, input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, message: str = "change", **files: str | bytes) -> str:
        """Write files (``a__b`` is a/b; without a dot ``.yaml`` is added) and commit everything."""
        return self.save({f"{name.replace('__', '/')}.yaml": content for name, content in files.items()}, message)

    def save(self, files: dict[str, str | bytes], message: str = "change") -> str:
        for name, content in files.items():
            place = self.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self, revision: str = "HEAD") -> str:
        return self.git("rev-parse", revision)

    def raw_tree(self, *rows: tuple[str, str, bytes, str]) -> str:
        """A tree of (mode, type, name, id), whatever the names are: git mktree takes them, and fsck does not."""
        lines = b"".join(f"{mode} {kind} {object_id}\t".encode() + name + b"\0" for mode, kind, name, object_id in rows)
        return self.git("mktree", "-z", stdin=lines)

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def commit_tree(self, tree: str, branch: str = "main") -> str:
        commit = self.git("commit-tree", tree, "-m", "raw")
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``source`` and ``bare`` as every test finds them; copied, because making them takes ten processes."""
    base = tmp_path_factory.mktemp("template")
    source = Repository(base / "source")
    source.commit("first", a="kind: A\n", apps__web="kind: Web\n")
    bare = Repository(base / "bare.git", bare=True)
    source.git("push", "--quiet", str(bare.path), "main")
    return base


@pytest.fixture
def source(template: Path, tmp_path: Path) -> Repository:
    """A developer's work tree with one commit."""
    return Repository(tmp_path / "source", template=template / "source")


@pytest.fixture
def bare(template: Path, tmp_path: Path, source: Repository) -> Repository:
    """A bare repository that ``source`` pushes to, as its remote ``origin``."""
    repository = Repository(tmp_path / "bare.git", template=template / "bare.git")
    source.git("remote", "add", "origin", str(repository.path))
    return repository


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Repository]:
    return lambda name, **options: Repository(tmp_path / name, **options)


@pytest.fixture
async def repositories(tmp_path: Path) -> AsyncIterator[GitRepositories]:
    made = GitRepositories(tmp_path / "data" / "git")
    yield made
    await made.close()
