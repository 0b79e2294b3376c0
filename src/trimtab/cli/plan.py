"""`trimtab plan PATH`: what would change, if this directory were committed. Works without a server."""

from __future__ import annotations

import click

from trimtab.cli.plans import exit_code, tell_plan
from trimtab.cli.session import current, data_option, environment_option, output_option, render_options
from trimtab.core.model.rendering import RenderSettings


@click.command()
@click.argument("path", type=click.Path(exists=True))
@environment_option
@render_options
@data_option
@output_option
def plan(path: str, environment: str, helm: str, plugin: tuple[str, ...], plugin_network: tuple[str, ...]) -> int:
    """What would change, if what stands in PATH were applied?

    Works without a server: what runs is read from the data directory where there is one. Nothing is changed. The exit code is 0
    when nothing would change, 1 when what stands there is wrong, 3 when there are differences or something would be held.

    \b
    Example:
      trimtab plan apps/shop --environment production
    """
    from trimtab.wiring import offline_plan

    session = current()
    view = offline_plan(path, environment, session.data or "", RenderSettings(helm, plugin, plugin_network))
    session.out.show(view, lambda: tell_plan(session.out, view))
    return exit_code(view)
