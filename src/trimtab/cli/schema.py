"""`trimtab schema KIND`: the JSON Schema of a kind, made from the same types that read the documents."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli.session import DONE, current
from trimtab.core.decide.schema import document_schema
from trimtab.core.model.config import KINDS
from trimtab.core.model.errors import UserError
from trimtab.core.model.text import escaped


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [kind for kind in kinds() if kind.lower().startswith(incomplete.lower())]


@click.command()
@click.argument("kind", shell_complete=_complete)
@click.option("--output", type=click.Choice(["json"]), default="json", expose_value=False, help="A schema is always JSON.")
def schema(kind: str) -> int:
    """Print the JSON Schema (2020-12) of a kind: Application, Environment or Project, or Process, File or Task of the host.

    \b
    Example:
      trimtab schema Application > .trimtab/application.schema.json
    """
    current().out.document(published(kind))
    return DONE


def kinds() -> list[str]:
    """Every kind that has a schema."""
    from trimtab.wiring.kinds import target_kinds

    return [*KINDS, *target_kinds()]


def published(kind: str) -> dict[str, Any]:
    """The schema of a whole document. Raises UserError for a kind that there is not; case does not matter."""
    from trimtab.wiring.kinds import configuration_schema, target_kinds

    of_configuration = {name.lower(): name for name in KINDS}
    if kind.lower() in of_configuration:
        return configuration_schema(of_configuration[kind.lower()])
    for name, (api_version, read_by) in target_kinds().items():
        if name.lower() == kind.lower():
            return document_schema(name, api_version, read_by)
    raise UserError(f"there is no kind {escaped(kind)}", remedy=f"The kinds are {', '.join(kinds())}")
