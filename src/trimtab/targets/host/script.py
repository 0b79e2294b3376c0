"""The scripts that supervisord runs, and the environment that they set up. Pure: values in, text out.

Every word from a repository is quoted for the shell; supervisord itself is only told the name of the script. The value of a
secret never stands in a script: the script reads its file when it starts. `$(NAME)` is expanded as Kubernetes does: known names
only, `$$(NAME)` stands for a literal `$(NAME)`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from .kinds import ProcessSpec, TaskSpec, _Runs
from .pids import MARK

CONFIGURATION_WRONG = 78  # EX_CONFIG of sysexits.h
UNSET = "SUPERVISOR_ENABLED SUPERVISOR_SERVER_URL SUPERVISOR_PROCESS_NAME SUPERVISOR_GROUP_NAME"

_REFERENCE = re.compile(r"\$(?P<escaped>\$\([^()]*\)|\$)|\$\((?P<name>[A-Za-z_][A-Za-z0-9_]*)\)")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace each ``$(NAME)`` that is known; an unknown one stays as it is."""

    def replaced(found: re.Match[str]) -> str:
        if found["name"] is None:
            return found["escaped"]
        return values.get(found["name"], found[0])

    return _REFERENCE.sub(replaced, text)


def references(spec: _Runs) -> frozenset[str]:
    """The names that `expand` would look up for this spec."""
    texts = [*spec.command, *spec.args, *spec.environment.values()]
    return frozenset(found["name"] for text in texts for found in _REFERENCE.finditer(text) if found["name"])


def variable(*parts: str) -> str:
    """The name of an environment variable of ours: ``variable("port", "http")`` is ``TRIMTAB_PORT_HTTP``."""
    return "_".join(["TRIMTAB", *(re.sub(r"[^A-Z0-9]", "_", part.upper()) for part in parts)])


def environment(
    spec: _Runs, *, instance: str, ports: Mapping[str, int], addresses: Mapping[str, str], tree: str
) -> dict[str, str]:
    """What an instance is given besides the host's own variables and its secrets, expanded. ``addresses`` are ready-made variables."""
    values = dict(addresses)
    values |= {variable("port", name): str(number) for name, number in ports.items()}
    if len(ports) == 1:
        values["PORT"] = str(next(iter(ports.values())))
    if tree:
        values["TRIMTAB_TREE"] = tree
    own: dict[str, str] = {}
    for name, text in spec.environment.items():  # a later one may refer to an earlier one
        own[name] = expand(text, values | own)
    return values | own | {MARK: instance}


def preamble(spec: _Runs, values: Mapping[str, str], *, directory: str) -> str:
    """Sets up environment and working directory; sourced by the run script and by command probes."""
    lines = [f"unset {UNSET}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(values.items())]
    for name, path in sorted(spec.secret_environment.items()):
        quoted = shlex.quote(path)
        message = shlex.quote(f"trimtab: cannot read the value of {name} from {path}")
        lines.append(f'{name}="$(cat -- {quoted})" || {{ echo {message} >&2; exit {CONFIGURATION_WRONG}; }}')
        lines.append(f"export {name}")
    message = shlex.quote(f"trimtab: cannot enter the working directory {directory}")
    lines.append(f"cd -- {shlex.quote(directory)} || {{ echo {message} >&2; exit {CONFIGURATION_WRONG}; }}")
    return "\n".join(lines) + "\n"


def process_script(spec: ProcessSpec, values: Mapping[str, str], *, place: str) -> str:
    """Becomes the process itself, so that its pid is the one that is noted. ``place`` is the instance's directory."""
    return f"{_opening(place)}exec {_command(spec, values)}\n"


def task_script(spec: TaskSpec, values: Mapping[str, str], *, place: str) -> str:
    """Runs the command once, ever, and writes down how it ended: also while nobody watches."""
    # `set -C` makes the mark an exclusive creation: a second start of the same run is refused, whoever asks for it.
    home = '"$trimtab_home"'
    return (
        f"trimtab_home=$PWD/{place}\n"
        f"(set -C; : >{place}/started) 2>/dev/null || exit {CONFIGURATION_WRONG}\n"
        f"{_opening(place)}"
        f"{_command(spec, values)}\n"
        "status=$?\n"
        f"echo $status >{home}/exit.tmp && mv {home}/exit.tmp {home}/exit\n"
        "exit $status\n"
    )


def probe_arguments(command: Iterable[str], values: Mapping[str, str], *, place: str) -> list[str]:
    """A command that is run in the instance's environment, to be started in DATA/host."""
    return ["/bin/sh", "-c", f'. ./{place}/environment && exec "$@"', "probe", *(expand(word, values) for word in command)]


def _opening(place: str) -> str:
    # The output goes to the file itself, not through supervisord: when supervisord is killed, what it held can still write.
    return (
        f"exec </dev/null >>{place}/log 2>&1\n"
        f"read -r noted </proc/$$/stat && echo \"$noted\" >{place}/pid\n"
        f". ./{place}/environment\n"
    )  # fmt: skip


def _command(spec: _Runs, values: Mapping[str, str]) -> str:
    return shlex.join(expand(word, values) for word in [*spec.command, *spec.args])
