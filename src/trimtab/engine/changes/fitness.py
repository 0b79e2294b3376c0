"""Whether a pusher may propose what was pushed: by rights, path by path, and with messages that nobody takes for those of merges."""

from __future__ import annotations

from trimtab.core.decide.rights import may
from trimtab.core.model.rights import Action, Denied, Principal, Resource
from trimtab.core.model.text import one_line
from trimtab.ports.hosting import HOSTED, Accept, Hosting, Push, RefUpdate, Refuse

from .messages import reserved_in
from .surroundings import Surroundings

HEADS = "refs/heads/"
NEW_COMMITS_MAX = 1_000
PATHS_CHECKED_MAX = 10_000


class Fitness:
    """Its answers are why not, and "" where nothing is against it."""

    def __init__(self, hosting: Hosting, surroundings: Surroundings) -> None:
        self._hosting, self._surroundings = hosting, surroundings

    async def unfit(self, push: Push, update: RefUpdate, target: str) -> str:
        """Why the pusher may not propose this: a path that they have no right to, or a message that only merges may have."""
        feigned = await self.feigned(push, update)
        if feigned:
            return feigned
        heads = await self._hosting.refs(push.repository, HEADS)
        base = await push.history.base(heads[HEADS + target], update.new) if HEADS + target in heads else None
        paths = await push.history.changed_paths(base or "", update.new, paths_max=PATHS_CHECKED_MAX)
        return self._denied_path(push, paths)

    async def feigned(self, push: Push, update: RefUpdate) -> str:
        """Why new commits could be taken for merges of ours, or cannot be told from them."""
        heads = await self._hosting.refs(push.repository, HEADS)
        commits = await push.history.log(update.new, without=tuple(heads.values()), commits_max=NEW_COMMITS_MAX + 1)
        if len(commits) > NEW_COMMITS_MAX:
            return f"more than {NEW_COMMITS_MAX} new commits at once"
        wrong = next((commit for commit in commits if reserved_in(commit.message)), None)
        if wrong is None:
            return ""
        return f"commit {wrong.revision[:12]} has a line such as `Change:` or `Approved-by:`, which only merges have"

    def denied(self, push: Push, action: Action) -> str:
        resource = Resource(repository=f"{HOSTED}{push.repository}")
        found = may(principal(push), action, resource, self._surroundings.people)
        return one_line(f"{found.reason}. {found.remedy}") if isinstance(found, Denied) else ""

    def tag(self, push: Push, update: RefUpdate) -> Accept | Refuse:
        if update.old:
            return Refuse("a tag is never moved or deleted: what it stands for may be running; make a new one")
        denied = self.denied(push, Action.MERGE)
        return Refuse(denied) if denied else Accept()

    def _denied_path(self, push: Push, paths: frozenset[str] | None) -> str:
        who, people = principal(push), self._surroundings.people
        for path in sorted(paths) if paths else [""]:
            found = may(who, Action.PROPOSE, Resource(repository=f"{HOSTED}{push.repository}", path=path), people)
            if isinstance(found, Denied):
                return one_line(f"{found.reason}. {found.remedy}")
        return ""


def principal(push: Push) -> Principal:
    assert isinstance(push.principal, Principal), "the entrance makes them"
    return push.principal
