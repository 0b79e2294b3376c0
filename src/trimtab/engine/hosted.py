"""Hosted repositories, as people ask for them: made, imported, looked at, taken out of service; each on the record."""

from __future__ import annotations

from trimtab.core.model.errors import UserError
from trimtab.core.model.event import Event
from trimtab.core.model.text import without_credentials
from trimtab.core.model.views import Accepted, HostedView
from trimtab.ports.hosting import HOSTED, HostedRepository, Hosting
from trimtab.ports.store import Writes

from .engine import Engine

SIGNER = "trimtab"
"""What git calls the server when it has checked a merge of its."""
GIT = "/git"
"""Where the Git server is, below the address of the server."""


class HostedCommands:
    _engine: Engine

    async def create_repository(self, name: str, default_branch: str, who: str) -> HostedView:
        made = await hosting(self._engine).create(name, default_branch=default_branch or "main")
        await self._record("repository.created", made.name, who, f"{who} made {HOSTED}{name}")
        return view(made, hosting(self._engine))

    async def import_repository(self, name: str, source: str, who: str) -> HostedView:
        """With all of another one's branches, tags and notes; returns once they are here."""
        made = await hosting(self._engine).import_(name, source)
        await self._record(
            "repository.created", made.name, who, f"{who} imported {HOSTED}{name} from {without_credentials(source)}"
        )
        return view(made, hosting(self._engine))

    async def delete_repository(self, name: str, who: str) -> Accepted:
        if self._engine.parts.repository == f"{HOSTED}{name}":
            raise UserError(
                f"delete {name}: it is the configuration repository of this server",
                remedy="Start the server with another one first",
            )
        aside = str(await hosting(self._engine).delete(name))
        await self._record("repository.deleted", name, who, f"{who} took {HOSTED}{name} out of service", aside=aside)
        return Accepted(f"{name} is out of service; its data is kept in {aside}")

    async def _record(self, kind: str, name: str, who: str, message: str, **data: str) -> None:
        told = {"repository": f"{HOSTED}{name}", "who": who, **data}
        event = Event(kind, self._engine.parts.clock.now(), message, data=told)
        await self._engine.current().journal.write(Writes(events=(event,)))


class HostedQueries:
    _engine: Engine

    async def hosted(self, name: str) -> HostedView:
        keeper = hosting(self._engine)
        return view(await keeper.get(name), keeper)


async def all_hosted(engine: Engine) -> list[HostedView]:
    keeper = engine.parts.hosting
    return [view(each, keeper) for each in await keeper.list()] if keeper is not None else []


def hosting(engine: Engine) -> Hosting:
    """Raises UserError where there is none."""
    if engine.parts.hosting is None:
        raise UserError("this server keeps no repositories of its own", remedy="Use one elsewhere, by its URL or path")
    return engine.parts.hosting


def view(repository: HostedRepository, keeper: Hosting) -> HostedView:
    key = keeper.signer().key
    return HostedView(
        repository=f"{HOSTED}{repository.name}",
        path=f"{GIT}/{repository.name}.git",
        default_branch=repository.default_branch,
        head=repository.head,
        bytes=repository.bytes,
        signer=f'{SIGNER} namespaces="git" {key}' if key else "",
    )
