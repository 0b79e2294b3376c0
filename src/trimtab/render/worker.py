"""The child that Helm and Jsonnet run in: requests from standard input, one at a time, answers to standard output.

One child serves one of the two: each brings a Go runtime, and two of those do not get on in one process. Run as `python -I -m trimtab.render.worker BOUNDS`. It binds itself before it loads anything else, sees no network, and needs nothing of
Trimtab but `confined`. What goes wrong in a chart or a file is an answer; what kills the process is the parent's to tell.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from trimtab.plumbing.confined import Bounds, confine
from trimtab.plumbing.workers import LENGTH

ERROR_CHARACTERS_MAX = 20_000


def main(arguments: list[str]) -> None:
    confine(Bounds(**json.loads(arguments[0])))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    requests = sys.stdin.buffer
    while header := requests.read(LENGTH.size):
        request = requests.read(LENGTH.unpack(header)[0])
        _answer(answers, request)


def _answer(answers: BinaryIO, request: bytes) -> None:
    try:
        asked = json.loads(request)
        answer = {"result": HANDLERS[asked["do"]](asked)}
    except MemoryError:
        answer = {"error": "it needs more memory than it may use", "memory": True}
    except Exception as error:
        answer = {"error": str(error)[:ERROR_CHARACTERS_MAX] or type(error).__name__}
    data = json.dumps(answer).encode()
    answers.write(LENGTH.pack(len(data)) + data)
    answers.flush()


def _helm(asked: dict[str, Any]) -> dict[str, Any]:
    """The templates of a chart, by path, and what stands in `crds/`."""
    from helm_python import _native as helm

    chart = helm.call_handle("helm_chart_load", asked["chart"])
    try:
        # The wrapper's own method does not pass on what the target can do.
        rendered = helm.call_string("helm_render", chart, json.dumps(asked["values"]), json.dumps(asked["options"]))
        crds = json.loads(helm.call_string("helm_chart_crds", chart)) if asked["crds"] else []
    finally:
        helm.call_status("helm_chart_free", chart)
    return {"templates": json.loads(rendered), "crds": {one["filename"]: one["data"] for one in crds}}


def _jsonnet(asked: dict[str, Any]) -> Any:
    """The value of a file. Imports come from what was sent along, and from nowhere else."""
    import _gojsonnet

    files: dict[str, str] = asked["files"]
    missing: list[str] = []

    def load(directory: str, name: str) -> tuple[str, bytes]:
        for place in (directory, *(f"{library}/" if library else "" for library in asked["libraries"])):
            path = os.path.normpath(f"{place}{name}")
            if path in files:
                return path, files[path].encode("utf-8", "surrogateescape")
        missing.append(_missing(files, directory, name))
        raise RuntimeError("missing")

    try:
        text = _gojsonnet.evaluate_snippet(
            asked["file"],
            files[asked["file"]],
            import_callback=load,
            ext_codes=asked["variables"],
            tla_codes=asked["arguments"],
        )
    except Exception as error:
        if not missing:
            raise
        # What the library makes of an error of ours ends in bytes of somebody else's.
        raise RuntimeError(missing[-1]) from error
    return json.loads(text)


def _missing(files: dict[str, str], directory: str, name: str) -> str:
    """What to say of an import that finds nothing, with the place of the first one that reads so."""
    said = f"{name} is not among the files that could be read"
    for file, text in sorted(files.items()):
        if file.rpartition("/")[0] == directory.rstrip("/") and (at := text.find(name)) >= 0:
            return f"{said}\n\t{file}:{text.count(chr(10), 0, at) + 1}:1"
    return said


def _version_of_helm(_: dict[str, Any]) -> str:
    from helm_python import _native as helm

    return f"{helm.helm_sdk_version()} (helm-python-sdk {helm.helm_c_version()})"


def _version_of_jsonnet(_: dict[str, Any]) -> str:
    import _gojsonnet

    return f"go-jsonnet {_gojsonnet.version}"


HANDLERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "helm": _helm,
    "helm version": _version_of_helm,
    "jsonnet": _jsonnet,
    "jsonnet version": _version_of_jsonnet,
}

if __name__ == "__main__":
    main(sys.argv[1:])
