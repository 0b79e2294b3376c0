"""The kinds of ``host.trimtab.dev/v1`` as they stand in Git: Process, File and Task. Strict: an unknown field is an error.

In comes a Manifest; out comes its spec as a frozen value, or a Problem that names the field. The descriptions below are the
reference: `schema` publishes them, and docs/reference/host.md is checked against them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

GROUP = "host.trimtab.dev"
API_VERSION = f"{GROUP}/v1"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
PORT_NAME_PATTERN = r"^[a-z]([-a-z0-9]{0,13}[a-z0-9])?$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Number = Annotated[int, Meta(ge=1, le=65535)]
Variable = Annotated[str, Meta(pattern=VARIABLE_PATTERN)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Command = Annotated[list[str], Meta(min_length=1, max_length=1_000)]
Pattern = Annotated[str, Meta(min_length=1, max_length=500)]
Path = Annotated[str, Meta(min_length=1, max_length=1_000)]
Signal = Literal["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    pass


class Port(_Strict, frozen=True):
    """A port of a Process. Neither ``listen`` nor ``fixed``: the stable port is picked once and kept."""

    name: Annotated[
        str, Meta(pattern=PORT_NAME_PATTERN, description="Names the port: lower-case letters, digits, dashes; at most 15.")
    ]
    listen: Annotated[
        Number | None,
        Meta(description="The stable port, on which the front accepts connections for whichever instances are ready."),
    ] = None
    fixed: Annotated[
        Number | None,
        Meta(
            description="A port that the process binds itself, without a front. Needs strategy recreate and at most one replica."
        ),
    ] = None
    address: Annotated[str, Meta(description="The address of this machine that the stable port is bound to.")] = "127.0.0.1"


class Http(_Strict, frozen=True):
    path: Annotated[str, Meta(pattern=r"^/[!-~]*$", max_length=2_000, description="What to GET.")] = "/"
    port: Annotated[str, Meta(description='The port by its name; "" is the only one.')] = ""
    status: Annotated[
        list[Annotated[int, Meta(ge=100, le=599)]], Meta(description="Answers that count as success; empty: 200 to 399.")
    ] = []


class Tcp(_Strict, frozen=True):
    port: Annotated[str, Meta(description='The port by its name; "" is the only one.')] = ""


class Probe(_Strict, frozen=True):
    """One way to ask a process how it is: exactly one of http, tcp, command, logLine."""

    http: Annotated[Http | None, Meta(description="An HTTP GET to the instance's own port.")] = None
    tcp: Annotated[Tcp | None, Meta(description="A TCP connection to the instance's own port.")] = None
    command: Annotated[
        Command | None, Meta(description="A command, run with the environment of the instance; exit status 0 is success.")
    ] = None
    log_line: Annotated[
        Pattern | None,
        Meta(description="Readiness only: a POSIX extended regular expression (grep -E) that a line of output must match once."),
    ] = None
    period_seconds: Annotated[float, Meta(ge=0.1, le=3_600, description="Time between two looks, once it is ready.")] = 5.0
    timeout_seconds: Annotated[float, Meta(gt=0, le=600, description="How long one look may take.")] = 2.0
    failure_threshold: Annotated[int, Meta(ge=1, le=1_000, description="Failures in a row that count as a failure.")] = 3
    initial_delay_seconds: Annotated[Seconds, Meta(description="Time between the start and the first look.")] = 0.0


class Stop(_Strict, frozen=True):
    signal: Annotated[Signal, Meta(description="The signal that asks the process group to end.")] = "TERM"
    grace_seconds: Annotated[
        int, Meta(ge=0, le=3_600, description="How long it may take after the signal, before it is killed.")
    ] = 10
    drain_seconds: Annotated[
        Seconds, Meta(description="How long open connections may go on before the signal, once new ones go elsewhere.")
    ] = 10.0


class Restart(_Strict, frozen=True):
    policy: Annotated[Literal["always", "onFailure", "never"], Meta(description="When to start it again after it ended.")] = (
        "always"
    )
    backoff_seconds: Annotated[
        float, Meta(ge=0.1, le=3_600, description="The first wait of a crash loop; doubles with each further crash.")
    ] = 1.0
    backoff_seconds_max: Annotated[float, Meta(ge=0.1, le=86_400, description="The longest wait of a crash loop.")] = 60.0


class Logs(_Strict, frozen=True):
    bytes_max: Annotated[
        int, Meta(ge=4_096, le=10_000_000_000, description="Size at which the log of an instance is turned over.")
    ] = 10_000_000
    files: Annotated[int, Meta(ge=0, le=100, description="How many earlier files of it are kept.")] = 3


class _Runs(_Strict, frozen=True):
    """What Process and Task share."""

    command: Annotated[Command, Meta(description="The program and its first arguments. Not a shell line. `$(NAME)` is expanded.")]
    args: Annotated[list[str], Meta(max_length=1_000, description="Further arguments. `$(NAME)` is expanded.")] = []
    environment: Annotated[dict[Variable, str], Meta(description="Environment variables. `$(NAME)` is expanded.")] = {}
    secret_environment: Annotated[
        dict[Variable, str],
        Meta(
            description="Environment variables whose values are read, at each start, from these files outside Git (absolute paths)."
        ),
    ] = {}
    tree: Annotated[
        str,
        Meta(description="A directory of the repository, put in place read-only as the working directory and as $TRIMTAB_TREE."),
    ] = ""
    working_directory: Annotated[
        str, Meta(description="An absolute path, or one inside `tree`. Without either: an empty directory of the instance's own.")
    ] = ""
    logs: Logs = Logs()


class ProcessSpec(_Runs, frozen=True, kw_only=True):
    replicas: Annotated[int, Meta(ge=0, le=100, description="How many instances run.")] = 1
    ports: Annotated[list[Port], Meta(max_length=20, description="The ports that it serves on.")] = []
    readiness: Annotated[Probe | None, Meta(description="When an instance may take work. Without: as soon as it runs.")] = None
    liveness: Annotated[Probe | None, Meta(description="When an instance has to be restarted. Without: when it exits.")] = None
    startup_seconds: Annotated[
        float, Meta(gt=0, le=86_400, description="How long an instance may take to get ready before it counts as degraded.")
    ] = 60.0
    stop: Annotated[Stop, Meta(description="How an instance is ended.")] = Stop()
    restart: Annotated[Restart, Meta(description="What happens when an instance ends by itself.")] = Restart()
    strategy: Annotated[
        Literal["rolling", "recreate"],
        Meta(description="rolling: new instances are ready before old ones stop. recreate: old ones stop first."),
    ] = "rolling"


class TaskSpec(_Runs, frozen=True, kw_only=True):
    when: Annotated[
        Literal["before", "after"],
        Meta(description="Before (wave -1) or after (wave 1) the rest, unless the annotation trimtab.dev/wave says otherwise."),
    ] = "before"
    retries: Annotated[int, Meta(ge=0, le=100, description="How often a failed run is tried again.")] = 0
    timeout_seconds: Annotated[float, Meta(gt=0, le=604_800, description="How long one run may take before it is killed.")] = (
        600.0
    )


class FileSpec(_Strict, frozen=True, kw_only=True):
    path: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1_000,
            description="Where it goes: absolute and inside an allowed root of the Environment, or relative to its first root.",
        ),
    ]
    content: Annotated[str | None, Meta(description="The content, as text.")] = None
    file: Annotated[Path | None, Meta(description="A file of the repository that is the content.")] = None
    mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}$", description="Permissions, in octal.")] = "0644"


class Metadata(_Strict, frozen=True):
    name: Name
    namespace: Annotated[
        str, Meta(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$", description="A further part of the name.")
    ] = ""
    labels: Annotated[dict[str, str], Meta(description="Free labels.")] = {}
    annotations: Annotated[dict[str, str], Meta(description="Free annotations; trimtab.dev/wave orders.")] = {}


class _Document(_Strict, frozen=True, kw_only=True):
    api_version: Literal["host.trimtab.dev/v1"]
    metadata: Metadata


class Process(_Document, frozen=True, kw_only=True):
    """Something that runs for ever, in one or more instances."""

    kind: Literal["Process"]
    spec: ProcessSpec


class Task(_Document, frozen=True, kw_only=True):
    """Something that runs to its end, once for each change of what it is made from."""

    kind: Literal["Task"]
    spec: TaskSpec


class File(_Document, frozen=True, kw_only=True):
    """A file with this content and mode."""

    kind: Literal["File"]
    spec: FileSpec


Document = Process | Task | File
Spec = ProcessSpec | TaskSpec | FileSpec
KINDS: dict[str, type[Process] | type[Task] | type[File]] = {"Process": Process, "File": File, "Task": Task}


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind, with all that it refers to. Raises KeyError for an unknown kind."""
    return msgspec.json.schema(KINDS[kind])


class HostSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``spec.target`` of an Environment on this machine, besides its kind."""

    allowed_roots: Annotated[
        list[str], Meta(description="Directories in which File may write. Empty: the Environment's own directory below --data.")
    ] = []
