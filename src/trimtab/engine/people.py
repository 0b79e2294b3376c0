"""The rights that a configuration gives, resolved once for each configuration: asked with every request, made with every commit."""

from __future__ import annotations

from trimtab.core.decide import rights
from trimtab.core.decide.rights import Directory
from trimtab.core.model.config import Configuration


class Directories:
    """Keeps the one of the configuration that was asked about last."""

    def __init__(self) -> None:
        self._read: tuple[Configuration | None, Directory] = (None, rights.directory(Configuration()))

    def of(self, configuration: Configuration) -> Directory:
        if configuration is not self._read[0]:
            self._read = (configuration, rights.directory(configuration))
        return self._read[1]
