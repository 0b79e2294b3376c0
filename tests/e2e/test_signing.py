"""Signed Changes from outside, with stock git and real keys: unsigned is refused by the check, signed is merged, signed and deployed."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from trimtab.testing.served import Served, until

from .conftest import World, process
from .test_git_server import clone, git

RULES = """\
apiVersion: trimtab.dev/v1
kind: User
metadata: {{name: ada}}
spec: {{sshKeys: ["{key}"]}}
---
apiVersion: trimtab.dev/v1
kind: Environment
metadata: {{name: production}}
spec: {{target: {{kind: host}}, signatures: {{required: true}}}}
---
apiVersion: trimtab.dev/v1
kind: Application
metadata: {{name: shop}}
spec: {{source: {{path: shop}}, environments: [{{name: production}}]}}
"""


def key(place: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", place], check=True)
    return place.with_name(f"{place.name}.pub").read_text().strip()


def commit(work: Path, seconds: int, *options: str) -> str:
    (work / "shop").mkdir(exist_ok=True)
    (work / "shop" / "web.yaml").write_text(process("web", "sleep", f"{seconds}"))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "-m", f"sleep {seconds}", *options)
    return git(work, "rev-parse", "HEAD").strip()


def test_a_signed_change_goes_the_whole_way(world: World) -> None:
    """The push tells of the unsigned commits; signed and pushed again they are merged and run, and the merge verifies with the printed line."""
    served = world.serve("--poll-seconds", "3600", repository="hosted:configuration")
    work = proposed(world, served)
    done = served.cli("change", "merge", "1", "--wait")
    assert done.code == 0, done.err
    landed(world, served, work)


def proposed(world: World, served: Served) -> Path:
    """A first commit that runs, and a Change on it, unsigned at first."""
    work = clone(world, served, "configuration")
    git(work, "config", "gpg.format", "ssh")
    git(work, "config", "user.signingkey", str(world.root / "ada"))
    (work / ".trimtab").mkdir()
    (work / ".trimtab" / "all.yaml").write_text(RULES.format(key=key(world.root / "ada")))
    first = commit(work, 1001, "-S")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    served.healthy(first)
    git(work, "checkout", "--quiet", "-b", "more")
    unsigned = [commit(work, seconds) for seconds in (1003, 1002)]
    told = git(work, "push", "-o", "change", "origin", "HEAD")
    for one in unsigned:
        assert f"for production: commit {one[:12]} is not signed" in told
    # What the terminal says is typed in.
    command = told.partition("by a User with a key in Git: ")[2].partition("\n")[0].strip()
    assert command == "git rebase --exec 'git commit --amend --no-edit -S' origin/main"
    git(work, *shlex.split(command)[1:])
    told = git(work, "push", "--force", "-o", "change", "origin", "HEAD")
    assert "nothing is missing" in told
    return work


def landed(world: World, served: Served, work: Path) -> None:
    """It is merged and runs; stock git knows the merge; nothing that is shown has anything of the key."""
    until(lambda: git(work, "fetch", "--quiet") + git(work, "rev-list", "--count", "main..origin/main").strip() not in ("", "0"))
    merged = git(work, "rev-parse", "origin/main").strip()
    assert "Signed-for: production" in git(work, "log", "-1", "--format=%B", merged)
    served.healthy(merged)
    assert "1002" in git(work, "show", f"{merged}:shop/web.yaml")

    printed = served.cli("repository", "key", "configuration")
    assert printed.out.startswith('trimtab namespaces="git" ssh-ed25519 ')
    (world.root / "signers").write_text(printed.out)
    verified = git(work, "-c", f"gpg.ssh.allowedSignersFile={world.root / 'signers'}", "verify-commit", merged)
    assert 'Good "git" signature for trimtab' in verified

    secret = world.data / "signing-key"
    assert secret.stat().st_mode & 0o777 == 0o600
    public = printed.out.split()[-1]
    body = [line for line in secret.read_text().splitlines()[1:-1] if line not in public]
    for words in (("events",), ("doctor",), ("repository", "show", "configuration", "--output", "json")):
        said = served.cli(*words)
        assert not [line for line in body if line in said.out + said.err]
