"""What the operator says of rendering, as the command line has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RenderSettings:
    """``helm`` names a program ("" takes what is installed); ``plugins`` are ``NAME=COMMAND``, ``plugins_with_network`` names."""

    helm: str = ""
    plugins: tuple[str, ...] = ()
    plugins_with_network: tuple[str, ...] = ()


DETECTED = RenderSettings()
"""Nothing is said: the tools that are installed, and no plugins."""
