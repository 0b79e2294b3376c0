"""Who we are to a chart repository: a file in the form of `netrc`, which only its owner may read.

A line is `machine HOST login NAME password SECRET`; HOST may have a port (`charts.example.org:8443`), and then counts for it alone.
"""

from __future__ import annotations

import netrc
from dataclasses import dataclass, field
from pathlib import Path

from trimtab.core.model.errors import UserError

_OTHERS = 0o077


@dataclass(frozen=True)
class Login:
    """Never shown: neither in a text nor in a log."""

    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Credentials:
    """``file`` is read at each question, so that a changed secret needs no restart; None and a missing file are no credentials."""

    file: Path | None = None

    def of(self, host: str, port: int | None) -> Login | None:
        """Raises UserError for a file that others may read, or that is none."""
        if self.file is None or not self.file.exists():
            return None
        if self.file.stat().st_mode & _OTHERS:
            raise UserError(f"read {self.file}: others may read it", remedy=f"Run chmod 600 {self.file}")
        try:
            known = netrc.netrc(self.file).hosts
        except (netrc.NetrcParseError, UnicodeDecodeError):
            # Its own words would quote the line, and with it the secret.
            text = f"read {self.file}: it is not in the form of netrc"
            raise UserError(text, remedy="Write lines such as: machine HOST login NAME password SECRET") from None
        found = known.get(f"{host}:{port}") or known.get(host)
        return Login(found[0], found[2] or "") if found is not None else None
