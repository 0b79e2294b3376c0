"""Rules as data, for the shapes that come again and again: one word of the status decides, or counters, or a switch in the spec.

A table's row reads like the documentation of the kind: which words are good, which mean work, which mean failure. A word that is
in no list is work in progress: a new release of a controller must not look healthy because it speaks a new word.
"""

from __future__ import annotations

from typing import Any

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .conditions import convention
from .reading import Rule, always, at, degraded, first, mapping, number, progressing, suspended, text

__all__ = ["always", "counted", "paused_by", "phase", "when_told"]


def phase(
    path: str,
    *,
    healthy: str,
    degraded_by: str = "",
    suspended_by: str = "",
    message: str = "status.message status.reason",
    absent: str = "progressing",
) -> Rule:
    """One word at ``path`` decides; the lists are words, compared without regard to case.

    ``absent`` says what no word at all means: "progressing", or "healthy" for controllers that write only what is wrong.
    ``message`` lists the paths at which the reason for people may stand. A comma stands for a blank within a word.
    """
    good, ill, still = _words(healthy), _words(degraded_by), _words(suspended_by)
    label = path.rpartition(".")[2]
    told = message.split()

    def rule(obj: Body) -> Health:
        word = _word(at(obj, path))
        if not word:
            return HEALTHY if absent == "healthy" else progressing("its controller has not said anything of it yet")
        key = word.lower()
        if key in good:
            return HEALTHY
        because = first(*(text(obj, each) for each in told))
        sentence = f"{label} is {word}" + (f": {because}" if because else "")
        if key in ill:
            return degraded(sentence)
        return suspended(sentence) if key in still else progressing(sentence)

    return rule


def counted(ready: str = "status.readyReplicas", wanted: str = "spec.replicas", default: int = 1) -> Rule:
    """As many are ready as are wanted."""
    *ready_path, ready_name = ready.split(".")
    *wanted_path, wanted_name = wanted.split(".")

    def rule(obj: Body) -> Health:
        there = number(_under(obj, ready_path), ready_name)
        want = number(_under(obj, wanted_path), wanted_name, default)
        return HEALTHY if there >= want else progressing(f"{there} of {want} ready")

    return rule


def paused_by(
    path: str, rule: Rule, message: str = "it is paused: {path} is set", values: tuple[Any, ...] = (True, "true")
) -> Rule:
    """``rule``, unless somebody has switched it off at ``path``."""
    sentence = message.format(path=path)

    def guarded(obj: Body) -> Health:
        value = at(obj, path)
        if isinstance(value, bool | str) and value in values:
            return suspended(sentence)
        return rule(obj)

    return guarded


def when_told(path: str, rule: Rule) -> Rule:
    """``rule`` once there is something at ``path``, the convention before."""

    def guarded(obj: Body) -> Health:
        return rule(obj) if at(obj, path) else convention(obj)

    return guarded


def _under(obj: Body, path: list[str]) -> Any:
    value: Any = obj
    for name in path:
        value = mapping(value, name)
    return value


def _words(words: str) -> frozenset[str]:
    return frozenset(word.replace(",", " ").lower() for word in words.split())


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) else ""
