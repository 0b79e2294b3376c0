"""A program within limits that the kernel keeps: memory, processor time, sizes of files, no network, nothing that outlives it.

Two ways in. `confine` binds the process that calls it, for programs of our own. Run as a script, with `Bounds` as JSON and a command
behind it, it binds itself and then runs the command: in a user namespace without network interfaces and in a process namespace that
ends with the command, whatever that has started and however it has hidden it. Only the standard library, and little of it: this
runs before every command.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

REFUSED: Final = 125
"""The exit code when the limits themselves could not be set; the reason is on standard error, after `REASON`."""
REASON: Final = "cannot be confined: "
RESERVED_FACTOR: Final = 4
"""Address space for each byte of memory: Go and malloc reserve far more than they write to, and only what is shared gets past the first."""
_SIGNALLED: Final = 128
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class Bounds(NamedTuple):
    """0 is no limit. ``processes`` holds within a user namespace of our own, where nobody else's are counted (and, as the kernel has it,
    not for root). ``isolation``: `required` (no network, or nothing runs), `wanted` (where the kernel permits it), `none`."""

    memory_bytes: int = 0
    cpu_seconds: int = 0
    file_bytes: int = 0
    open_files: int = 0
    processes: int = 0
    isolation: str = "wanted"


class CannotConfine(Exception):  # noqa: N818
    """The kernel does not give us a namespace of our own. The text says what it answered."""


def command(bounds: Bounds, arguments: list[str]) -> list[str]:
    """What to run in place of ``arguments``, so that they run within ``bounds``."""
    return [sys.executable, "-I", "-S", __file__, json.dumps(bounds._asdict()), *arguments]


def confine(bounds: Bounds, *, processes: bool = False) -> None:
    """Bind this process and all that it starts, for good. It must have one thread only. With ``processes``, its children are in a
    namespace of their own. Raises CannotConfine when isolation is required and cannot be had.
    """
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    alone = bounds.isolation != "none" and _isolate(bounds.isolation == "required", _CLONE_NEWPID if processes else 0)
    for kind, most in (
        (resource.RLIMIT_DATA, bounds.memory_bytes),
        (resource.RLIMIT_AS, bounds.memory_bytes * RESERVED_FACTOR),
        (resource.RLIMIT_CPU, bounds.cpu_seconds),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
        (resource.RLIMIT_NPROC, bounds.processes if alone else 0),
    ):
        if most:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (most, most) if hard == resource.RLIM_INFINITY or most < hard else (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _isolate(required: bool, more: int) -> bool:
    """True when we are in namespaces of our own."""
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | more)
    except OSError as error:
        if required:
            raise CannotConfine(error.strerror or str(error)) from error
        return False
    # In the new namespace we are who we were: files keep their owners.
    for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", file).write_text(text)
    return True


def _call(name: str, *arguments: Any) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(arguments: list[str]) -> int:
    bounds = Bounds(**json.loads(arguments[0]))
    try:
        confine(bounds, processes=True)
    except (CannotConfine, OSError, ValueError) as error:
        sys.stderr.write(f"{REASON}{error}\n")
        return REFUSED
    # The first process of the namespace; all others in it end when it does.
    first = os.fork()
    if not first:
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os._exit(_exit_code(_started(arguments[1:])))
    code = _exit_code(first)
    if code > _SIGNALLED:  # say it as the command would have, had it been our caller's own child
        os.kill(os.getpid(), code - _SIGNALLED)
    return code


def _started(command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.execvp(command[0], command)  # noqa: S606 - a list, no shell
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()  # nothing else will, in a child that ends like this
    os._exit(127)


def _exit_code(child: int) -> int:
    """That of ``child``; with a signal 128 and its number, as a shell says it."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNALLED - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
