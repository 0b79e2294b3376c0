"""The renderer, from the settings: which tools and plugins there are, and where charts are kept."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from trimtab.core.model.errors import UserError
from trimtab.core.model.rendering import RenderSettings
from trimtab.render.plugin import PluginCommand
from trimtab.render.renderer import TreeRenderer

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


def commands(settings: RenderSettings) -> dict[str, PluginCommand]:
    """Raises UserError for what no plugin can be."""
    found: dict[str, PluginCommand] = {}
    for text in settings.plugins:
        name, equals, words = text.partition("=")
        arguments = _words(words)
        if not equals or not _NAME.fullmatch(name) or not arguments:
            raise UserError(f"read the plugin {text}: NAME=COMMAND is wanted", remedy="Such as --plugin cue='cue export .'")
        if name in found:
            raise UserError(f"read the plugin {text}: {name} is there twice", remedy="Give each its own name")
        found[name] = PluginCommand(arguments, name in settings.plugins_with_network)
    for name in settings.plugins_with_network:
        if name not in found:
            raise UserError(f"allow the network to {name}: there is no such plugin", remedy="Declare it with --plugin")
    return found


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"read the command {text}: {error}", remedy="Close the quotes") from error


def served(data: Path, settings: RenderSettings) -> TreeRenderer:
    """That of a server. Who it is to chart repositories stands in DATA/netrc."""
    return TreeRenderer(data / "cache", helm=settings.helm or None, plugins=commands(settings), netrc=data / "netrc")


def unserved(scratch: Path, settings: RenderSettings) -> TreeRenderer:
    """That of a command of a person's own: charts stay in their cache, and their own netrc counts."""
    return TreeRenderer(
        scratch / "cache",
        helm=settings.helm or None,
        plugins=commands(settings),
        netrc=own_netrc(),
        charts=own_charts(),
    )


def own_charts() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "trimtab" / "charts"


def own_netrc() -> Path:
    return Path(os.environ.get("NETRC") or Path.home() / ".netrc")
