"""`trimtab doctor`: is everything that Trimtab needs there and well?"""

from __future__ import annotations

import click

from trimtab.cli.output import COLOURS, Out
from trimtab.cli.session import DONE, FAILED, asks_server, current
from trimtab.core.model.text import one_line
from trimtab.core.model.views import DoctorView


@click.command()
@asks_server
def doctor() -> int:
    """Is everything that Trimtab needs there and well? The exit code is 1 when something is not.

    \b
    Example:
      trimtab doctor
    """
    session = current()
    view = session.client.doctor()
    session.out.show(view, lambda: tell_findings(session.out, view))
    return FAILED if any(finding.state == "failed" for finding in view.findings) else DONE


def tell_findings(out: Out, view: DoctorView) -> None:
    for finding in view.findings:
        state = one_line(finding.state)
        out.parts((f"{state:7}", COLOURS.get(state, "")), f"  {one_line(finding.check)}: {one_line(finding.message)}")
        if finding.remedy:
            out.line(f"           {one_line(finding.remedy)}")
