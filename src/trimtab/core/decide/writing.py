"""Values as YAML text that reads back as the same values: for `trimtab render`, examples and whatever a commit writes.

PyYAML leaves some texts bare that kubectl takes for another type (``y``, ``1e3``, ``0o7``): whatever `scalars` does not read
back as the same text is put in quotes here. Texts of several lines become blocks where that loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import yaml
from yaml import CSafeDumper

from . import scalars

# Lines that neither begin nor end with white space, and no first empty line: a block keeps such a text as it is.
_BLOCK: Final = re.compile(
    r"(?:[^\s\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff](?:[^\n\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]*[^\s])?\n+)+[^\n]*"
)


def dump(value: Any) -> str:
    """One document. Keys keep their order. ``value`` is a JSON value; infinities and NaN have no place in one."""
    return dump_all([value]).removeprefix("---\n")


def dump_all(values: Iterable[Any]) -> str:
    """Several documents, each begun with ``---``."""
    text: str = yaml.dump_all(
        values,
        Dumper=_Dumper,
        allow_unicode=True,
        default_flow_style=False,
        explicit_start=True,
        sort_keys=False,
        width=2**30,
    )
    return text.replace("\n...\n", "\n") if text.endswith("\n...\n") else text


class _Dumper(CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|" if _BLOCK.fullmatch(text) else '"'
    elif _changes(text):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _changes(text: str) -> bool:
    try:
        return scalars.plain(text) is not text
    except scalars.ScalarError:
        return True


_Dumper.add_representer(str, _text)
