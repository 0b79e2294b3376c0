"""`trimtab doctor`: is everything that Trimtab needs there and well?"""

from __future__ import annotations

import click

from trimtab.cli.output import COLOURS, Out
from trimtab.cli.session import DONE, FAILED, asks_server, current, environment_option
from trimtab.core.model.text import one_line
from trimtab.core.model.views import DoctorView


@click.command()
@click.argument("path", required=False, type=click.Path(exists=True))
@environment_option
@asks_server
def doctor(path: str | None, environment: str) -> int:
    """Is everything that Trimtab needs there and well? The exit code is 1 when something is not.

    Asks the server. With PATH it works without one: the targets that PATH declares are asked from here, with the rights that you have
    here.

    \b
    Example:
      trimtab doctor
      trimtab doctor . --environment production
    """
    session = current()
    if path is None:
        view = _of(session.client.doctor(), environment)
    else:
        from trimtab.wiring import offline_doctor

        view = offline_doctor(path, environment, session.data or "")
    session.out.show(view, lambda: tell_findings(session.out, view))
    return FAILED if any(finding.state == "failed" for finding in view.findings) else DONE


def _of(view: DoctorView, environment: str) -> DoctorView:
    """What was found of one Environment; of everything where none is named."""
    name = f"environment {environment}"
    if not environment:
        return view
    return DoctorView([one for one in view.findings if one.check == name or one.check.startswith(f"{name}: ")])


def tell_findings(out: Out, view: DoctorView) -> None:
    for finding in view.findings:
        state = one_line(finding.state)
        out.parts((f"{state:7}", COLOURS.get(state, "")), f"  {one_line(finding.check)}: {one_line(finding.message)}")
        if finding.remedy:
            out.line(f"           {one_line(finding.remedy)}")
