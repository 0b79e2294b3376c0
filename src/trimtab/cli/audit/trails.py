"""`trimtab audit verify|show|export`: trails are read from the server and verified here, where nobody has to be believed."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import click
import msgspec

from trimtab.cli.audit.clone import ends_in
from trimtab.cli.change.here import session_here
from trimtab.cli.output import BAD, GOOD, Out, short
from trimtab.cli.session import DONE, FAILED, Session, asks_server
from trimtab.cli.times import Time, absolute
from trimtab.core.decide.trail import broken
from trimtab.core.model.changeviews import BrokenView, TrailRow, VerifiedView
from trimtab.core.model.text import one_line
from trimtab.core.model.trail import Link

COLUMNS = ("trail", "number", "time", "kind", "message", "application", "environment", "revision", "data", "before", "hash")

change_option = click.option("--change", metavar="NUMBER", type=click.IntRange(min=1), default=None, help="Of this change.")
environment_option = click.option("--environment", "-e", metavar="NAME", default="", help="Of this environment.")


@click.command()
@change_option
@environment_option
@click.option(
    "--expect", metavar="HASH", multiple=True, help="A hash that was printed once, and must be in a trail still. May be repeated."
)
@click.option(
    "--clone",
    metavar="PATH",
    type=click.Path(exists=True, file_okay=False),
    default=None,
    help="A clone whose notes say where trails ended once: that must be in them still.",
)
@asks_server
def verify(change: int | None, environment: str, expect: tuple[str, ...], clone: str | None) -> int:
    """Does every trail hold? Nothing in it was altered, taken out or slipped in; each broken link is named, and the exit code is 1.

    What was cut off at the end leaves a shorter trail that holds. So keep what is printed: with --expect it must be there still. With
    --clone, so must every end that the notes of a clone name (fetch refs/notes/trimtab before).

    \b
    Example:
      trimtab audit verify --clone . --expect sha256:3f2a91c0…
    """
    session = session_here()
    names = _names(session, change, environment)
    view = _verified(session, names, expect, ends_in(clone) if clone else [], whole=not change and not environment)
    session.out.show(view, lambda: _tell(session.out, view))
    return DONE if view.ok else FAILED


@click.command()
@change_option
@environment_option
@asks_server
def show(change: int | None, environment: str) -> int:
    """The trail of a change or of an environment, oldest first.

    \b
    Example:
      trimtab audit show --environment production
    """
    session = session_here()
    if not change and not environment:
        raise click.UsageError("Say whose trail: --change NUMBER or --environment NAME.")
    for link in _links(session, change, environment):
        if session.out.json:
            session.out.record(link)
            continue
        about = " ".join(part for part in (one_line(link.application), short(link.revision)) if part)
        session.out.line(f"{link.number:>4}  {absolute(link.time)}  {one_line(link.kind)}" + (f"  {about}" if about else ""))
        session.out.line(f"      {one_line(link.message)}")
    return DONE


@click.command()
@change_option
@environment_option
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True, help="How to print them."
)
@click.option("--since", type=Time(), default=None, help="Only from this time on, such as 2026-01-31T18:00:00Z.")
@asks_server
def export(change: int | None, environment: str, form: str, since: datetime | None) -> int:
    """Trails for another program or an archive: all that you may read, or one. Each line has its hash, so what was exported can be verified.

    \b
    Example:
      trimtab audit export --format csv --environment production > production.csv
    """
    session = session_here()
    links = (link for link in _links(session, change, environment) if since is None or link.time >= since)
    if form == "jsonl":
        for link in links:
            session.out.record(link)
        return DONE
    sys.stdout.write(_row(COLUMNS))
    for link in links:
        sys.stdout.write(_row(_cells(link)))
    return DONE


def _names(session: Session, change: int | None, environment: str) -> list[str]:
    named = [*([f"change/{change}"] if change else []), *([f"environment/{environment}"] if environment else [])]
    return named or [row.trail for row in session.client.trails().trails]


def _links(session: Session, change: int | None, environment: str) -> Iterator[Link]:
    for name in _names(session, change, environment):
        yield from session.client.trail(name)


def _verified(
    session: Session, names: list[str], expect: Iterable[str], ends: list[tuple[str, str]], *, whole: bool
) -> VerifiedView:
    rows: list[TrailRow] = []
    wrong: list[BrokenView] = []
    hashes: dict[str, set[str]] = {}
    for name in names:
        links = list(session.client.trail(name))
        wrong += [BrokenView(name, message) for message in broken(links)]
        wrong += [BrokenView(name, f"{name}: link {link.number} is of {link.trail}") for link in links if link.trail != name]
        hashes[name] = {link.hash for link in links}
        rows.append(TrailRow(name, len(links), links[-1].hash if links else ""))
    known = frozenset().union(*hashes.values()) if hashes else frozenset()
    wrong += [
        BrokenView("", f"no trail has {one_line(one)}: links were cut off, or it is of another trail")
        for one in expect
        if one not in known
    ]
    wrong += _lost(hashes, ends, whole=whole)
    return VerifiedView(not wrong, rows, wrong)


def _lost(hashes: Mapping[str, set[str]], ends: Iterable[tuple[str, str]], *, whole: bool) -> Iterator[BrokenView]:
    """What a clone knows and the server does not show. ``whole``: every trail was asked for."""
    for trail, hash_ in ends:
        if trail not in hashes and whole:
            said = "the clone knows of it, and it is not shown: it is gone, or you may not read it"
            yield BrokenView(trail, f"{one_line(trail)}: {said}")
        elif hash_ not in hashes.get(trail, {hash_}):
            said = f"the clone knows that it had {one_line(hash_)}, and it has not: links were cut off or replaced"
            yield BrokenView(trail, f"{one_line(trail)}: {said}")


def _tell(out: Out, view: VerifiedView) -> None:
    failed = {one.trail for one in view.broken}
    for row in view.trails:
        mark = ("✗", BAD) if row.trail in failed else ("✓", GOOD)
        out.parts("  ", mark, f" {one_line(row.trail)}: {row.links} links, ends in {row.hash}")
    for one in view.broken:
        out.parts("  ", (one_line(one.message), BAD))
    out.line(f"{len(view.trails)} trails hold." if view.ok else f"{len(view.broken)} things are wrong.")


def _cells(link: Link) -> list[str]:
    told = {**msgspec.to_builtins(link), "data": json.dumps(link.data, sort_keys=True)}
    return [_plain(str(told[name])) for name in COLUMNS]


def _plain(text: str) -> str:
    """A cell that a spreadsheet would take for a formula is text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _row(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
