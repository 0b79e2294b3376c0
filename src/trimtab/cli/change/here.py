"""What the clone in the current directory knows: which server it came from, under which remote, and what the repository is called there.

With it, `trimtab change list` in a clone needs neither --server nor --repository.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

from trimtab.cli.session import Session, current

LOCAL_GIT_SECONDS = 5.0
_PATH = re.compile(r"^(?P<below>.*)/git/(?P<name>.+?)\.git/?$")


@dataclass(frozen=True)
class Remote:
    """``server`` is the address that the command line would be given, ``name`` that of the hosted repository."""

    remote: str
    server: str
    name: str


def session_here() -> Session:
    """The session; where nobody has named a server, it is that of this clone."""
    session = current()
    named = session.server or session.data or os.environ.get("TRIMTAB_SERVER") or os.environ.get("TRIMTAB_DATA")
    found = remotes()
    if not named and found:
        session.server = found[0].server
    return session


def repository_here(session: Session) -> Remote | None:
    """The remote of this clone that leads to the server that is asked; None when there is none, or several."""
    address = urlsplit(getattr(session.client, "url", ""))
    found = [one for one in remotes() if not address.netloc or urlsplit(one.server).netloc == address.netloc]
    origin = [one for one in found if one.remote == "origin"]
    return (origin or found)[0] if len(origin or found) == 1 else None


def remotes() -> list[Remote]:
    """Those of the current directory that may lead to a Trimtab server, origin first."""
    found = []
    for line in git("config", "--get-regexp", r"^remote\..*\.url$").splitlines():
        key, _, url = line.partition(" ")
        parts = urlsplit(url)
        path = _PATH.match(parts.path)
        if parts.scheme in ("http", "https") and parts.hostname and path:
            host = parts.netloc.rpartition("@")[2]
            name = key.removeprefix("remote.").removesuffix(".url")
            found.append(Remote(name, f"{parts.scheme}://{host}{path['below']}", path["name"]))
    return sorted(found, key=lambda one: (one.remote != "origin", one.remote))


def branch_here() -> str:
    """The branch that is checked out; "" where there is none."""
    return git("branch", "--show-current").strip()


def git(*arguments: str) -> str:
    """What git prints in the current directory; "" when it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=LOCAL_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
