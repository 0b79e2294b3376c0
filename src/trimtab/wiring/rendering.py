"""The renderer, from the settings: which tools and plugins there are, and where charts are kept."""

from __future__ import annotations

import os
from pathlib import Path

from trimtab.core.model.errors import UserError
from trimtab.core.model.rendering import RenderSettings
from trimtab.render.plugin import PluginCommand
from trimtab.render.renderer import TreeRenderer

from .named import named_commands


def commands(settings: RenderSettings) -> dict[str, PluginCommand]:
    """Raises UserError for what no plugin can be."""
    named = named_commands("plugin", settings.plugins, example="cue='cue export .'")
    for name in settings.plugins_with_network:
        if name not in named:
            raise UserError(f"allow the network to {name}: there is no such plugin", remedy="Declare it with --plugin")
    return {name: PluginCommand(words, name in settings.plugins_with_network) for name, words in named.items()}


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
