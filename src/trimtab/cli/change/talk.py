"""`trimtab change comment`: at a line of a file, at a step of a plan, or of the whole; answers, and threads that are settled."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli.change.here import session_here
from trimtab.cli.change.look import number_argument
from trimtab.cli.change.telling import tell_threads
from trimtab.cli.session import DONE, asks_server, environment_option


@click.command()
@number_argument
@click.argument("text", required=False, default="")
@click.option("--at", metavar="FILE:LINE", default="", help="The line of a file that it is about.")
@click.option("--step", metavar="KIND/NAME", default="", help="The step of the plan that it is about, with --environment.")
@environment_option
@click.option("--reply", metavar="THREAD", type=click.IntRange(min=1), default=None, help="Answer in this thread.")
@click.option("--resolve", metavar="THREAD", type=click.IntRange(min=1), default=None, help="Settle this thread.")
@click.option("--unresolve", metavar="THREAD", type=click.IntRange(min=1), default=None, help="Open this thread again.")
@asks_server
def comment(
    number: int, text: str, at: str, step: str, environment: str, reply: int | None, resolve: int | None, unresolve: int | None
) -> int:
    """Comment on a change with TEXT, which begins a thread, or answer in one. With neither, show what was said.

    Where the branch asks for it, every thread has to be settled before the merge.

    \b
    Example:
      trimtab change comment 12 "Is three enough?" --at apps/shop/web.yaml:7
      trimtab change comment 12 "It is." --reply 1 --resolve 1
    """
    session = session_here()
    file, line = _place(at)
    if text:
        place: dict[str, Any] = {"thread": reply or 0, "file": file, "line": line, "environment": environment, "object": step}
        session.client.comment(number, text, **place)
    for thread, resolved in ((resolve, True), (unresolve, False)):
        if thread is not None:
            session.client.resolve(number, thread, resolved=resolved)
    view = session.client.change_comments(number)
    session.out.show(view, lambda: tell_threads(session.out, view.comments, session.now()))
    return DONE


def _place(at: str) -> tuple[str, int]:
    file, colon, line = at.rpartition(":")
    if not at or not colon:
        return at, 0
    if not line.isdigit():
        raise click.BadParameter("it is FILE:LINE, such as apps/shop/web.yaml:7", param_hint="--at")
    return file, int(line)
