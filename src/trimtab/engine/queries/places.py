"""Environments and repositories, and the doctor that asks whether they answer."""

from __future__ import annotations

import msgspec

from trimtab.core.decide.oversights import oversights
from trimtab.core.decide.rights import directory
from trimtab.core.model.errors import NotFound, TrimtabError
from trimtab.core.model.health import worst
from trimtab.core.model.observed import Scope
from trimtab.core.model.text import without_credentials
from trimtab.core.model.views import (
    DoctorView,
    EnvironmentRow,
    EnvironmentsView,
    EnvironmentView,
    Finding,
    RepositoriesView,
    RepositoryRow,
    SourceView,
)
from trimtab.engine.engine import Session
from trimtab.engine.hosted import all_hosted

from .reader import WELL, Reader, row_of


class PlaceQueries(Reader):
    async def environments(self) -> EnvironmentsView:
        session = self._engine.current()
        names = {key.environment for key in session.world.states} | session.world.configuration.environments.keys()
        return EnvironmentsView([self._environment_row(session, name) for name in sorted(names)])

    def _environment_row(self, session: Session, name: str) -> EnvironmentRow:
        states = {key: state for key, state in session.world.states.items() if key.environment == name}
        environment = session.world.environment(name)
        health = worst(state.health for state in states.values())
        return EnvironmentRow(
            name=name,
            target=environment.target_kind if environment is not None else "",
            applications=len(states),
            objects=len(session.world.inventories[name]),
            healthy=sum(state.health.status in WELL for state in states.values()),
            health=health.status,
            message=health.message,
        )

    async def environment(self, name: str) -> EnvironmentView:
        session = self._engine.current()
        environment = session.world.environment(name)
        if environment is None:
            known = ", ".join(row.name for row in (await self.environments()).environments)
            raise NotFound(f"find environment {name}: there is none", remedy=f"Environments: {known or 'none'}")
        origin = session.world.configuration.origins.get(f"Environment/{name}")
        rows = [row_of(session, key) for key in sorted(session.world.states) if key.environment == name]
        return EnvironmentView(
            name=name,
            target=environment.target_kind,
            spec=msgspec.to_builtins(environment.spec),
            origin=SourceView(origin.file, origin.line) if origin is not None else None,
            applications=rows,
        )

    async def repositories(self) -> RepositoriesView:
        session = self._engine.current()
        return RepositoriesView(
            [
                RepositoryRow(
                    repository=without_credentials(head.repository),
                    revision_expression=head.expression,
                    revision=head.revision or "",
                    seen=head.seen,
                    message=head.problem,
                    remedy=head.remedy,
                    rewritten=head.rewritten or "",
                )
                for _, head in sorted(session.world.heads.items())
            ],
            await all_hosted(self._engine),
        )

    async def doctor(self) -> DoctorView:
        """Whether everything that we depend on answers. Never raises for what it finds."""
        checks = self._engine.parts.checks
        findings = [*(await checks() if checks is not None else []), self._doctor_store()]
        session = self._engine.session
        if session is None:
            return DoctorView([*findings, Finding("lease", "warning", "another process leads; this one stands by")])
        findings += [_doctor_head(row) for row in (await self.repositories()).repositories]
        problems = session.world.configuration.problems
        remedy = problems[0].remedy if problems else ""
        findings.append(
            Finding(
                "configuration",
                "failed" if problems else "ok",
                str(problems[0]) if problems else "every document is right",
                remedy,
            )
        )
        for row in (await self.environments()).environments:
            findings += await self._doctor_target(session, row.name)
        findings += self._doctor_people(session)
        unwell = [str(key) for key, state in sorted(session.world.states.items()) if state.health.status not in WELL]
        findings.append(
            Finding(
                "applications",
                "warning" if unwell else "ok",
                f"not healthy: {', '.join(unwell[:10])}" if unwell else "all are healthy",
            )
        )
        return DoctorView(findings)

    def _doctor_people(self, session: Session) -> list[Finding]:
        configuration, now = session.world.configuration, self._engine.parts.clock.now()
        found = list(oversights(configuration, directory(configuration), session.tokens.values(), now))
        if session.voucher.problem:
            found.append(
                Finding("signatures", "warning", session.voucher.problem, "Commit on top of it, signed as the rule asks")
            )
        keeper = self._engine.parts.hosting
        if session.voucher.trust.rules and keeper is not None and (problem := keeper.signer().problem):
            remedy = "Mend it and start the server again; until then no change that reaches such an environment is merged"
            found.append(Finding("signing", "failed", f"merges cannot be signed: {problem}", remedy))
        return found

    def _doctor_store(self) -> Finding:
        problem = self._engine.journal.problem
        return Finding(
            "store",
            "failed" if problem else "ok",
            problem or "the last write was stored",
            "Look at disk space and permissions" if problem else "",
        )

    async def _doctor_target(self, session: Session, name: str) -> list[Finding]:
        try:
            observed = await session.hands.target(name).observe(Scope(name))
            found = [Finding(f"environment {name}", "ok", f"answers; {len(observed)} objects are ours")]
            for mandate, refs in session.world.in_use(name).items():
                checked = await session.hands.target(name, mandate).check(refs)
                found += [msgspec.structs.replace(one, check=f"environment {name}: {one.check}") for one in checked]
        except TrimtabError as error:
            return [Finding(f"environment {name}", "failed", error.message, error.remedy)]
        return found


def _doctor_head(row: RepositoryRow) -> Finding:
    return Finding(
        f"repository {row.repository}", "failed" if row.message else "ok", row.message or f"at {row.revision[:12]}", row.remedy
    )
