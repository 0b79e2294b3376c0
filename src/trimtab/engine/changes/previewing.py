"""What a tree would do that nobody has merged: the Plans of every Application that it touches, against the world as it is.

Nothing is changed, and nothing of it is believed: the configuration of the tree is read beside the one that holds, its contents are
rendered into a World of their own, and plans are made there by the same `Hands` that make the real ones. A branch is not trusted, so
an Environment that it declares or points elsewhere is not asked anything: what it would do there is told by its content alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem, TransientError, TrimtabError
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Action, Plan, Step
from trimtab.engine.looking import Hands
from trimtab.engine.sources import Place
from trimtab.engine.supposing import Supposing
from trimtab.engine.world import GONE, Content, World
from trimtab.ports.git import Tree

RENDERS_AT_ONCE_MAX = 4


@dataclass(frozen=True)
class Previewed:
    """``plans`` by Key, unmasked; ``digests`` those of the contents that they come from. ``unseen`` are Keys of Environments that were not
    asked, with the reason. ``problems`` by the check that they belong to: ``configuration``, ``render``, ``plan``.
    """

    configuration: Configuration
    plans: Mapping[Key, Plan] = field(default_factory=dict)
    digests: Mapping[Key, str] = field(default_factory=dict)
    unseen: Mapping[Key, str] = field(default_factory=dict)
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)


class Previewer:
    def __init__(self, world: World, supposing: Supposing, hands: Hands) -> None:
        self._world, self._supposing, self._hands = world, supposing, hands

    async def preview(self, places: frozenset[Place], tree: Tree, paths: frozenset[str] | None) -> Previewed:
        """``tree`` is what the head at ``places`` (each a repository and a revision expression) would be, ``paths`` are the files in which it
        differs from the one that is there (None: any). Raises TransientError when the world does not answer.
        """
        configuration = await self._supposing.configuration(places, tree)
        contents, failed = await self._contents(places, tree, paths, configuration)
        problems = {
            "configuration": tuple(one for one in configuration.problems if one not in self._world.configuration.problems),
            "render": tuple(problem for found in failed.values() for problem in found),
        }
        touched = {key: content for key, content in contents.items() if self._differs(key, content)}
        unseen = {key: reason for key in sorted(touched) if (reason := self._unseen(key, configuration))}
        for environment in sorted({key.environment for key in touched if key not in unseen}):
            await self._hands.rebuild(environment)
        world = self._world.supposing(configuration, touched, failed)
        hands = self._hands.elsewhere(world)
        plans: dict[Key, Plan] = {}
        refused: list[Problem] = []
        for key in sorted(touched):
            if key in unseen:
                plans[key] = _by_content(key, touched[key])
                continue
            found = await hands.inspect(key, touched[key])
            if isinstance(found, Plan):
                plans[key] = found
            else:
                refused += found
        problems["plan"] = tuple(refused)
        return Previewed(configuration, plans, {key: one.digest for key, one in touched.items()}, unseen, problems)

    async def _contents(
        self, places: frozenset[Place], tree: Tree, paths: frozenset[str] | None, configuration: Configuration
    ) -> tuple[dict[Key, Content], dict[Key, tuple[Problem, ...]]]:
        wishes = self._supposing.wishes_of(configuration)
        affected = self._supposing.affected_by(wishes, places, tree, paths)
        room = asyncio.Semaphore(RENDERS_AT_ONCE_MAX)
        contents: dict[Key, Content] = {}
        failed: dict[Key, tuple[Problem, ...]] = {}

        async def one(key: Key) -> None:
            async with room:
                try:
                    contents[key] = await self._supposing.foresee(key, wishes[key], places, tree, configuration)
                except TransientError:
                    raise
                except TrimtabError as error:
                    failed[key] = error.problems

        await asyncio.gather(*(one(key) for key in affected))
        for key in self._supposing.undeclared_in(configuration, wishes):
            contents[key] = GONE
        return contents, failed

    def _differs(self, key: Key, content: Content) -> bool:
        newest = self._world.newest(key)
        return newest is None or newest.digest != content.digest

    def _unseen(self, key: Key, configuration: Configuration) -> str:
        here = self._world.environment(key.environment)
        there = configuration.environments.get(key.environment)
        if here is None:
            return "the environment is new: what is there is looked at once the change is merged"
        if there is not None and there.spec.target != here.spec.target:
            return "the environment would be another place: what is there is looked at once the change is merged"
        return ""


def _by_content(key: Key, content: Content) -> Plan:
    """Everything as if nothing were there."""
    steps = tuple(
        Step(Action.CREATE, one.ref, key.application, key.environment, one.wave, manifest=one, presupposes="unseen")
        for one in content.manifests
    )
    return Plan(key.application, key.environment, steps)
