"""`trimtab audit rebuild`: the record in its essentials, from a clone alone."""

from __future__ import annotations

import click

from trimtab.cli.audit.clone import merges_in
from trimtab.cli.output import COLOURS, QUIET, Out, short
from trimtab.cli.session import DONE, current, output_option
from trimtab.cli.times import absolute
from trimtab.core.model.changeviews import MergeView, RebuiltView
from trimtab.core.model.text import one_line


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False))
@click.option("--revision", metavar="REVISION", default="HEAD", show_default=True, help="The branch or commit to read back from.")
@output_option
def rebuild(path: str, revision: str) -> int:
    """What the clone in PATH alone can tell: which changes were merged, who approved which plan, and what became of them.

    Works without a server. Who approved and which plan stand in the merges themselves; what became of them in the notes, which are fetched with
    `git fetch origin refs/notes/trimtab:refs/notes/trimtab`.

    \b
    Example:
      trimtab audit rebuild . --revision origin/main
    """
    session = current()
    view = RebuiltView(merges_in(path, revision))
    session.out.show(view, lambda: _tell(session.out, view))
    return DONE


def _tell(out: Out, view: RebuiltView) -> None:
    if not view.merges:
        out.line("No merge of a change is in it.")
    for merge in view.merges:
        _tell_merge(out, merge)


def _tell_merge(out: Out, merge: MergeView) -> None:
    out.line(f"change {merge.change}: {one_line(merge.title)}")
    out.line(f"  {short(merge.revision)}, {absolute(merge.merged)}, by {merge.author}")
    for who in merge.approved_by:
        out.line(f"  approved by {who}")
    for environment, plan in merge.plans.items():
        out.parts(f"  {environment}: ", (plan, QUIET))
    for one in merge.outcomes:
        said = f": {one_line(one.message)}" if one.message else ""
        where = f"{one_line(one.application)} in {one_line(one.environment)}"
        out.parts(f"    {where} ", (one_line(one.phase), COLOURS.get(one.phase, "")), f" {absolute(one.since)}{said}")
