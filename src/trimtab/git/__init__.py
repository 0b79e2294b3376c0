"""Repositories: bare mirrors of remotes, kept by the git command line and read as objects through pygit2.

`GitRepositories` (repositories.py) is the port's implementation and the index to the rest: remote.py says what may be fetched,
mirrors.py fetches, tree.py and objects.py read, revisions.py resolves, notes.py and proposals.py write and push,
watching.py wakes, contents.py puts trees on disk.
"""

from .repositories import GitRepositories

__all__ = ["GitRepositories"]
