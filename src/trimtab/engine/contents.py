"""From what an Application's sources ask for to its content: each source is rendered at a tree of its own, and what they come to is joined.

Nothing is remembered here; who wants it at which Revision, and what becomes of it, is decided elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from trimtab.core.decide.joining import digest_of, join
from trimtab.core.decide.limits import outside_of, sourced_elsewhere
from trimtab.core.model.config import Chart, Configuration, Helm, Jsonnet
from trimtab.core.model.errors import UserError
from trimtab.core.model.manifest import Manifest, digest
from trimtab.core.model.names import Key, Revision
from trimtab.ports.git import Repositories, Tree
from trimtab.ports.renderer import Limit, Rendered, Renderer

from .abilities import Abilities
from .sources import Part, Wish
from .world import GONE, Content, Read, World


class Contents:
    def __init__(self, world: World, repositories: Repositories, renderer: Renderer, abilities: Abilities) -> None:
        self._world, self._repositories, self._renderer, self._abilities = world, repositories, renderer, abilities

    async def joined(self, key: Key, wish: Wish, trees: list[Tree], configuration: Configuration) -> Content:
        """What the sources come to at ``trees``, one for each. Raises TrimtabError."""
        named = {part.request.source.name: tree for part, tree in zip(wish.parts, trees, strict=True) if part.request.source.name}
        application = configuration.applications.get(key.application)
        project = configuration.projects.get(application.spec.project) if application is not None else None
        limit = partial(sourced_elsewhere, project) if project is not None and project.spec.repositories else None
        parts = [
            (part, await self._render_part(key, part, tree, named, limit)) for part, tree in zip(wish.parts, trees, strict=True)
        ]
        manifests, twice = join((_called(part, index), one.manifests) for index, (part, one) in enumerate(parts, start=1))
        if twice:
            raise UserError(f"render {key}: {twice[0]}", problems=twice)
        problems = outside_of(project, manifests)
        if problems:
            raise UserError(f"render {key}: {problems[0]}", problems=problems)
        return _content_of(parts, manifests)

    async def _render_part(self, key: Key, part: Part, tree: Tree, named: dict[str, Tree], limit: Limit | None) -> Rendered:
        if not part.is_rendered:
            return Rendered((), (), digest([]))
        others = {name: other for name, other in named.items() if name != part.request.source.name}
        abilities = self._abilities
        return await self._renderer.render(
            part.request, tree, others=others, capabilities=lambda: abilities.of(key.environment), limit=limit
        )

    def emptied(self, key: Key, wish: Wish, tree: Tree) -> bool:
        """Git keeps no empty directory: when the last file goes, the path goes. Where something ran from it that is an empty
        rendering, for the removal budget to judge; where nothing did, it is a wrong path, for the renderer to report.
        """
        state = self._world.states.get(key)
        path = wish.first.request.path.strip("/")
        if state is None or state.current is None or path in ("", ".") or tree.entry(path) is not None or len(wish.parts) > 1:
            return False
        if state.current.digest == GONE.digest:
            return True
        try:
            ran_from = self._repositories.tree(wish.first.repository, Revision(state.current.revision))
        except UserError:
            return False
        return ran_from.entry(path) is not None


def declared_paths(wish: Wish) -> tuple[tuple[str, str], ...]:
    """Where a correction may come: in the directories that are named, and, with charts and files elsewhere, anywhere in the rest."""
    return tuple((part.repository, part.request.path if _stands_alone(wish, part) else "") for part in wish.parts)


def _stands_alone(wish: Wish, part: Part) -> bool:
    """True when nothing outside its directory can matter."""
    source = part.request.source
    return len(wish.parts) == 1 and (source.chart, source.helm, source.jsonnet) == (Chart(), Helm(), Jsonnet())


def _called(part: Part, number: int) -> str:
    return part.request.source.name or str(number)


def _content_of(parts: list[tuple[Part, Rendered]], manifests: tuple[Manifest, ...]) -> Content:
    places = {part.request.source.name: part.place for part, _ in parts if part.request.source.name}
    inputs: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for part, rendered in parts:
        inputs[part.place].update(rendered.inputs)
        for name, path, object_id in rendered.elsewhere:
            inputs[places[name]][path] = object_id
    whole = parts[0][1].digest if len(parts) == 1 else digest_of(manifests)
    capabilities = next((rendered.capabilities for _, rendered in parts if rendered.capabilities), "")
    return Content(whole, manifests, tuple(Read(*place, tuple(found.items())) for place, found in inputs.items()), capabilities)
