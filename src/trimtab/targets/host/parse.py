"""From a Manifest to a checked document of ours, or the Problem that says which field is wrong. Pure.

msgspec checks shapes; what it cannot express (exactly one of several fields, ports that exist) is checked here, so that
whatever passes can be carried out unless the machine itself says no.
"""

from __future__ import annotations

import difflib
import ipaddress
import posixpath
import re
from collections.abc import Iterable, Iterator

import msgspec

from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Body, Manifest

from .kinds import API_VERSION, GROUP, KINDS, Document, File, FileSpec, Probe, Process, ProcessSpec, Task, TaskSpec, _Runs

RESERVED_PREFIX = "TRIMTAB_"


class Wrong(Exception):  # noqa: N818 - carries a Problem to `parse`, no further
    """One field is wrong."""

    def __init__(self, message: str, field: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message, self.field, self.remedy = message, field, remedy


def parse(manifest: Manifest) -> Document | Problem:
    """The document, or what is wrong with it first."""
    try:
        document = _convert(manifest)
        match document:
            case Process(spec=spec):
                _check_process(spec)
            case Task(spec=spec):
                _check_runs(spec)
            case File(spec=spec):
                _check_file(spec)
        _check_content(document, manifest)
    except Wrong as wrong:
        return Problem(f"{manifest.ref}: {wrong.message}", manifest.file, manifest.line, wrong.field, wrong.remedy)
    return document


def body(document: Document, manifest: Manifest) -> Body:
    """The normal form, in which two equal wishes are equal: defaults left out, content by its ids."""
    shaped: Body = msgspec.to_builtins(document)
    if manifest.content:
        shaped["content"] = {content.path: content.id for content in manifest.content}
    return shaped


def _convert(manifest: Manifest) -> Document:
    ref = manifest.ref
    if ref.group != GROUP:
        raise Wrong(f"this Environment's target is `host`, which knows {GROUP} only", "apiVersion", f"Use {API_VERSION}.")
    if ref.api_version != API_VERSION:
        raise Wrong(f"unknown version {ref.api_version}", "apiVersion", f"Use {API_VERSION}.")
    if ref.kind not in KINDS:
        raise Wrong(f"unknown kind {ref.kind}", "kind", _nearest(ref.kind, KINDS))
    try:
        return msgspec.convert(manifest.body, KINDS[ref.kind])
    except msgspec.ValidationError as error:
        raise _explained(str(error), KINDS[ref.kind]) from None


_AT = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`(?P<at>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")

_OTHER = re.compile(r"Expected `(?P<wanted>\w+)(?: \| null)?`, got `(?P<got>\w+)`")
_WANTED = {
    "str": ("text", 'Write it in quotes, such as "8080".'),
    "int": ("a whole number", "Write digits, without quotes."),
    "float": ("a number", "Write digits, without quotes."),
    "bool": ("true or false", "Write true or false, without quotes."),
    "array": ("a list", 'Write each entry on a line that begins with "- ".'),
    "object": ("a mapping", 'Write "name: value" lines below it.'),
}
_GOT = {"str": "text", "int": "a number", "float": "a number", "bool": "true or false", "array": "a list", "object": "a mapping"}


def _explained(text: str, kind: type[msgspec.Struct]) -> Wrong:
    """msgspec says "Object contains unknown field `x` - at `$.spec`": name the field and, where we can, the nearest that exists."""
    found = _AT.match(text)
    what, at = (found["what"], found["at"] or "$") if found else (text, "$")
    field = re.sub(r"^\$\.?", "", at)
    unknown, missing = _UNKNOWN.search(what), _MISSING.search(what)
    if unknown:
        name = unknown["name"]
        return Wrong(f"unknown field {name}", _joined(field, name), _nearest(name, _fields_at(kind, field)))
    if missing:
        return Wrong(f"{missing['name']} is missing", _joined(field, missing["name"]), "Add it.")
    other = _OTHER.search(what)
    if other and other["wanted"] in _WANTED:
        words, remedy = _WANTED[other["wanted"]]
        return Wrong(f"{words} is wanted here, not {_GOT.get(other['got'], other['got'])}", field, remedy)
    return Wrong(what[:1].lower() + what[1:], field, f"See what fits: trimtab schema {kind.__name__}")


def _joined(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _fields_at(kind: type[msgspec.Struct], field: str) -> list[str]:
    """The names that stand at a dotted path such as ``spec.ports[...]``."""
    current: msgspec.inspect.Type = msgspec.inspect.type_info(kind)
    for part in [part for part in re.sub(r"\[[^\]]*\]", ".[]", field).split(".") if part]:
        current = _step_into(current, part)
    found = _plain(current)
    return [each.encode_name for each in found.fields] if isinstance(found, msgspec.inspect.StructType) else []


def _step_into(current: msgspec.inspect.Type, part: str) -> msgspec.inspect.Type:
    found = _plain(current)
    if isinstance(found, msgspec.inspect.StructType):
        return next((each.type for each in found.fields if each.encode_name == part), msgspec.inspect.AnyType())
    if isinstance(found, msgspec.inspect.ListType):
        return found.item_type
    if isinstance(found, msgspec.inspect.DictType):
        return found.value_type
    return msgspec.inspect.AnyType()


def _plain(current: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """Without the wrappings of metadata and of "or None"."""
    while isinstance(current, msgspec.inspect.Metadata):
        current = current.type
    if isinstance(current, msgspec.inspect.UnionType):
        return _plain(next(each for each in current.types if not isinstance(each, msgspec.inspect.NoneType)))
    return current


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else f"Known are {', '.join(known)}."


def _check_runs(spec: _Runs) -> None:
    if not spec.command[0] or spec.command[0].startswith("-"):
        raise Wrong("the program's name is empty or starts with a dash", "spec.command")
    for field, texts in (("command", spec.command), ("args", spec.args), ("environment", list(spec.environment.values()))):
        if any("\0" in text for text in texts):
            raise Wrong("contains a NUL, which no program can be given", f"spec.{field}")
    for name, path in spec.secret_environment.items():
        if not path.startswith("/") or "\0" in path:
            raise Wrong("is no absolute path", f"spec.secretEnvironment.{name}", "Name a file outside Git by its absolute path.")
        if name in spec.environment:
            raise Wrong(f"{name} stands in environment too", f"spec.secretEnvironment.{name}", "Keep one of the two.")
    for field, names in (("environment", spec.environment), ("secretEnvironment", spec.secret_environment)):
        for name in names:
            if name.startswith(RESERVED_PREFIX):
                raise Wrong(
                    f"names that start with {RESERVED_PREFIX} are Trimtab's", f"spec.{field}.{name}", "Choose another name."
                )
    directory = spec.working_directory
    if "\0" in directory or ".." in directory.split("/"):
        raise Wrong("may not contain ..", "spec.workingDirectory")
    if directory and not directory.startswith("/") and not spec.tree:
        raise Wrong("is relative, but there is no tree", "spec.workingDirectory", "Add spec.tree, or make it absolute.")


def _check_process(spec: ProcessSpec) -> None:
    _check_runs(spec)
    names = [port.name for port in spec.ports]
    for at, port in enumerate(spec.ports):
        field = f"spec.ports[{at}]"
        if port.name in names[:at]:
            raise Wrong(f"there are two ports of the name {port.name}", f"{field}.name", "Give each port a name of its own.")
        if port.listen is not None and port.fixed is not None:
            raise Wrong("has both listen and fixed", field, "listen is for a port with a front, fixed for one without: keep one.")
        if port.fixed is not None and (spec.strategy != "recreate" or spec.replicas > 1):
            remedy = "Set strategy: recreate and replicas: 1, or use listen."
            raise Wrong("a fixed port can be bound by one instance at a time only", f"{field}.fixed", remedy)
        _check_address(port.address, f"{field}.address")
    for name, probe in (("readiness", spec.readiness), ("liveness", spec.liveness)):
        if probe is not None:
            _check_probe(probe, f"spec.{name}", names)
    if spec.liveness is not None and spec.liveness.log_line is not None:
        raise Wrong("logLine tells readiness only", "spec.liveness.logLine", "Use http, tcp or command.")


def _check_address(address: str, field: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise Wrong(f"{address!r} is no IP address", field, "Use 127.0.0.1, 0.0.0.0, ::1 or another address.") from None


def _check_probe(probe: Probe, field: str, ports: list[str]) -> None:
    asked = [name for name, value in _checks(probe) if value is not None]
    if len(asked) != 1:
        said = " and ".join(asked) or "none"
        raise Wrong(f"needs exactly one of http, tcp, command, logLine; it has {said}", field)
    if probe.command is not None and (not probe.command[0] or any("\0" in text for text in probe.command)):
        raise Wrong("is no command", f"{field}.command")
    if probe.log_line is not None and ("\n" in probe.log_line or "\0" in probe.log_line):
        raise Wrong("matches single lines and cannot contain a line break", f"{field}.logLine")
    for name, check in (("http", probe.http), ("tcp", probe.tcp)):
        if check is None:
            continue
        if check.port == "" and len(ports) != 1:
            raise Wrong("needs a port", f"{field}.{name}.port", f"Name one of: {', '.join(ports) or 'none (add spec.ports)'}.")
        if check.port and check.port not in ports:
            raise Wrong(f"there is no port {check.port}", f"{field}.{name}.port", f"Known are: {', '.join(ports) or 'none'}.")


def _checks(probe: Probe) -> Iterator[tuple[str, object]]:
    yield "http", probe.http
    yield "tcp", probe.tcp
    yield "command", probe.command
    yield "logLine", probe.log_line


def _check_file(spec: FileSpec) -> None:
    if (spec.content is None) == (spec.file is None):
        raise Wrong("needs exactly one of content and file", "spec")
    if (
        "\0" in spec.path
        or ".." in spec.path.split("/")
        or posixpath.normpath(spec.path) in (".", "/")
        or spec.path.endswith("/")
    ):
        raise Wrong(
            f"{spec.path!r} does not name a file plainly", "spec.path", "Write the path without .. and without a final slash."
        )


def _check_content(document: Document, manifest: Manifest) -> None:
    """What the renderer resolves must be there: a Manifest without it cannot be carried out."""
    match document.spec:
        case ProcessSpec(tree=tree) | TaskSpec(tree=tree) if tree and not any(c.type == "tree" for c in manifest.content):
            raise Wrong(f"there is no directory {tree} in the repository", "spec.tree")
        case FileSpec(file=str(file)) if not any(c.type == "blob" for c in manifest.content):
            raise Wrong(f"there is no file {file} in the repository", "spec.file")
        case _:
            return
