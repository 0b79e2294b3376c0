"""`trimtab render PATH`: what would be applied, rendered from a directory. Works without a server."""

from __future__ import annotations

import click

from trimtab.cli.output import QUIET, Out
from trimtab.cli.session import DONE, FAILED, current, environment_option, output_option, render_options
from trimtab.core.model.rendering import RenderSettings
from trimtab.core.model.text import one_line
from trimtab.core.model.views import RenderView


@click.command()
@click.argument("path", type=click.Path(exists=True))
@environment_option
@render_options
@output_option
def render(path: str, environment: str, helm: str, plugin: tuple[str, ...], plugin_network: tuple[str, ...]) -> int:
    """What would be applied? Renders PATH and prints every object, with the file and line that it comes from.

    Works without a server and changes nothing. The exit code is 1 when something there is wrong.

    \b
    Example:
      trimtab render apps/shop --environment staging
    """
    from trimtab.wiring import offline_render

    session = current()
    view = offline_render(path, environment, RenderSettings(helm, plugin, plugin_network))
    session.out.show(view, lambda: tell_render(session.out, view))
    return FAILED if view.errors else DONE


def tell_render(out: Out, view: RenderView) -> None:
    """YAML that reads back as the same objects; the places stand in comments."""
    from trimtab.core.decide.writing import dump

    for manifest in view.manifests:
        out.line("---")
        if manifest.source.file:
            line = f":{manifest.source.line}" if manifest.source.line else ""  # what a tool has made has none
            out.parts((f"# {one_line(manifest.source.file)}{line}", QUIET))
        out.verbatim(dump(manifest.object))
    if view.errors:
        out.flush()
        click.echo("trimtab: what stands there is wrong:", err=True)
        out.problems(view.errors, err=True)
