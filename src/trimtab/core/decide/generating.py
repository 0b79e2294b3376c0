"""Puts what Generators make among the documents that people wrote, as if they had written those too."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.core.model.config import Configuration, Environment
from trimtab.core.model.generator import Generated, Generator

from .elements import Found
from .generators import Memory, expand
from .reading import Reading


def generate(reading: Reading, before: Configuration, found: Found, memory: Memory) -> dict[str, Generated]:
    """Adds to ``reading`` what its Generators make, and what stays of before; returns where each of those Applications comes from."""
    environments = _environments(reading, before)
    generated: dict[str, Generated] = {}
    for key in sorted(reading.good.keys() | reading.doubtful):
        if not key.startswith("Generator/"):
            continue
        generator = reading.good.get(key)
        complete = False
        if isinstance(generator, Generator):
            taken = {**{name: str(one) for name, one in generated.items()}, **_written(reading, generated)}
            made = expand(generator, found, environments, before.generated, taken, memory)
            complete = made.complete
            for finding in made.findings:
                reading.wrong(key, *finding)
            reading.problems += made.problems
            for name, application in made.applications.items():
                reading.good[f"Application/{name}"] = application
                reading.origins[f"Application/{name}"] = reading.origins[key]
            generated |= made.origins
        if not complete:
            reading.doubtful.add(key)
            _keep(reading, before, key, generated)
    return generated


def _keep(reading: Reading, before: Configuration, key: str, generated: dict[str, Generated]) -> None:
    """What the Generator made before, and does not make now, stays as it was."""
    for name, one in before.generated.items():
        kept = f"Application/{name}"
        if f"Generator/{one.generator}" == key and kept not in reading.origins and name in before.applications:
            reading.doubtful.add(kept)
            reading.origins[kept] = reading.origins[key]
            generated[name] = one


def _written(reading: Reading, generated: Mapping[str, Generated]) -> dict[str, str]:
    """The names of Applications that people declared, also of those that are wrong."""
    keys = (key for key in reading.origins if key.startswith("Application/"))
    names = (key.removeprefix("Application/") for key in keys)
    return {name: f"the one in {reading.origins[f'Application/{name}'].file}" for name in names if name not in generated}


def _environments(reading: Reading, before: Configuration) -> dict[str, Environment]:
    """Those that are declared; one that is wrong has the labels that it had."""
    good = {one.metadata.name: one for one in reading.good.values() if isinstance(one, Environment)}
    return good | {name: one for name, one in before.environments.items() if f"Environment/{name}" in reading.doubtful}
