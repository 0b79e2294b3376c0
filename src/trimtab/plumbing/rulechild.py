"""The process in which users' rules run; it can be killed at any moment, and that is its point.

Started by `sandbox.py` as a script of its own, with the standard library, lupa and cel only. On standard input come requests, on
standard output go answers, each a JSON document after its length (four bytes, big endian). A Lua script gets a runtime of its own
with a bound on memory and on instructions and with nothing in reach but values; what neither bound stops (a pattern that
backtracks) is ended by an alarm on its processor time, which nobody catches, and by the parent. Reading past the end of input ends it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import signal
import struct
import sys
import types
from functools import lru_cache
from typing import Any, BinaryIO

MIB = 1024 * 1024
FRAME_BYTES_MAX = 64 * MIB
MEMORY_BYTES_MAX = 1024 * MIB
LUA_BYTES_MAX = 64 * MIB
INSTRUCTIONS_MAX = 20_000_000
PROGRAMS_MAX = 500
ORDER = ("degraded", "suspended", "progressing", "healthy")
"""In which the expressions of a CEL rule are asked: what is wrong comes first."""

# A script sees the names of `env` alone. `pcall` must not swallow the end of its instructions, so it passes that on; a table's
# metatable can be reached, that of all strings cannot. `table.getn` is there because scripts written for Lua 5.1 call it.
BOOT = """
local sethook, load, pcall, error, type, rawget, getmetatable = debug.sethook, load, pcall, error, type, rawget, getmetatable
local string, table, math, os = string, table, math, os
local function copy(from, names)
  local found = {}
  for name in names:gmatch("%S+") do found[name] = from[name] end
  return found
end
local base = copy(_G, "assert error ipairs next pairs select tonumber tostring type rawequal rawget rawset rawlen setmetatable _VERSION")
local strings = copy(string, "byte char find format gmatch gsub len lower match rep reverse sub upper")
local tables = copy(table, "concat insert move pack remove sort unpack")
tables.getn = function(list) return #list end
local clock = copy(os, "time date difftime clock")
local maths = copy(math, "abs ceil floor fmod huge max min modf pi sqrt tointeger type ult maxinteger mininteger")
return function(source, obj, budget)
  local stopped = false
  local env = {}
  for name, value in pairs(base) do env[name] = value end
  env._G, env.string, env.table, env.os, env.math, env.obj = env, strings, tables, clock, maths, obj
  env.unpack = table.unpack
  local function pass(ok, ...)
    if stopped then error("it takes too many steps", 0) end
    return ok, ...
  end
  env.pcall = function(...) return pass(pcall(...)) end
  env.getmetatable = function(value) if type(value) == "table" then return getmetatable(value) end end
  local chunk, wrong = load(source, "=rule", "t", env)
  if not chunk then return nil, nil, wrong end
  sethook(function() stopped = true; error("it takes too many steps", 0) end, "", budget)
  local ok, found = pcall(chunk)
  sethook()
  if stopped then return nil, nil, "it takes too many steps" end
  if not ok then return nil, nil, type(found) == "string" and found or "it raised a value that is no text" end
  if type(found) ~= "table" then return nil, nil, "it returned no table with a status" end
  local status, message = rawget(found, "status"), rawget(found, "message")
  return type(status) == "string" and status or nil, type(message) == "string" and message or nil, nil
end
"""


class Wrong(Exception):  # noqa: N818 - an answer for people, caught at the loop
    """What is wrong with a rule, for its author."""


def lua(source: str, obj: dict[str, Any]) -> dict[str, str]:
    """Runs a script as Argo CD does: ``obj`` is global, and it returns a table with status and message."""
    lua54 = importlib.import_module("lupa.lua54")
    runtime = lua54.LuaRuntime(
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        attribute_filter=_no_attribute,
        overflow_handler=float,
        max_memory=LUA_BYTES_MAX,
    )
    try:
        run = runtime.execute(BOOT)
        found = run(source, runtime.table_from(obj, recursive=True), INSTRUCTIONS_MAX)
    except (lua54.LuaError, MemoryError, UnicodeError, OverflowError) as error:
        raise Wrong(str(error) or type(error).__name__) from None
    status, message, wrong = found
    if wrong:
        raise Wrong(wrong)
    return {"status": status or "", "message": message or ""}


def _no_attribute(_: object, name: object, __: bool) -> str:
    raise AttributeError(str(name))


@lru_cache(PROGRAMS_MAX)
def _program(expression: str) -> Any:
    try:
        return importlib.import_module("cel").compile(expression)
    except ValueError as error:
        raise Wrong(f"`{expression}` is not CEL: {error}") from None


def cel_rule(rule: dict[str, str], obj: dict[str, Any]) -> dict[str, str]:
    """The first of `ORDER` whose expression is true. An expression about a field that is not there is not true."""
    names = {"metadata": {}, "spec": {}, "status": {}, "data": {}, "apiVersion": "", "kind": "", **obj, "object": obj}
    failed = ""
    for status in ORDER:
        if not rule.get(status):
            continue
        try:
            found = _program(rule[status]).execute(names)
        except (RuntimeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            if "ndefined variable" in str(error):
                raise Wrong(f"`{rule[status]}`: {error}") from None
            failed = failed or str(error)
            continue
        if not isinstance(found, bool):
            raise Wrong(f"`{rule[status]}` gives neither true nor false")
        if found:
            return {"status": status, "message": "" if status == "healthy" else _message(rule, names)}
    return {
        "status": "progressing",
        "message": _message(rule, names) or "none of its rule's expressions is true" + f": {failed}" * bool(failed),
    }


def _message(rule: dict[str, str], names: dict[str, Any]) -> str:
    if not rule.get("message"):
        return ""
    with contextlib.suppress(RuntimeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        return str(_program(rule["message"]).execute(names))
    return ""


def when(expression: str, obj: dict[str, Any]) -> dict[str, Any]:
    """Whether an expression is true of an object; one about a field that is not there is not."""
    try:
        found = _program(expression).execute({"object": obj})
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        if "ndefined variable" in str(error):
            raise Wrong(f"`{expression}`: {error}; it can name `object` alone") from None
        return {"true": False}
    if not isinstance(found, bool):
        raise Wrong(f"`{expression}` gives neither true nor false")
    return {"true": found}


def value(expression: str, names: dict[str, Any]) -> dict[str, Any]:
    """What an expression comes to; one about a field that is not there is wrong."""
    cel = importlib.import_module("cel")
    context = cel.Context(variables=names)
    importlib.import_module("cel.stdlib").add_stdlib_to_context(context)
    try:
        return {"value": _program(expression).execute(context)}
    except KeyError as error:
        raise Wrong(f"there is no {error}; ask with has() first") from None
    except (RuntimeError, TypeError, ValueError, IndexError, OverflowError, ArithmeticError) as error:
        raise Wrong(str(error) or type(error).__name__) from None


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """One request: ``language``, ``rule`` (a script, expressions by status, or one expression), and ``object``, or ``values`` by name;
    with neither, whether the expression is one.
    """
    try:
        if "values" in request:
            return value(request["rule"], request["values"])
        if "object" not in request:
            _program(request["rule"])
            return {}
        if isinstance(request["rule"], str) and request["language"] == "cel":
            return when(request["rule"], request["object"])
        if request["language"] == "lua":
            return lua(request["rule"], request["object"])
        return cel_rule(request["rule"], request["object"])
    except Wrong as error:
        return {"wrong": str(error)[:2000]}
    except RecursionError:
        return {"wrong": "its object or its rule is nested too deeply"}


def prepare(languages: list[str]) -> list[str]:
    """Imports what the languages need, so that it does not count as a rule's time; gives back those that are not installed."""
    # The package `cel` imports its own command line, and with it 25 MB that no rule needs.
    sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))
    missing = []
    for language in languages:
        try:
            importlib.import_module({"lua": "lupa.lua54", "cel": "cel"}[language])
        except ImportError:
            missing.append(language)
    return missing


def confine() -> None:
    """No core dumps, no new files of any size, and a bound on memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


def read(stream: BinaryIO) -> dict[str, Any] | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    found: dict[str, Any] = json.loads(stream.read(length))
    return found


def write(stream: BinaryIO, value: dict[str, Any]) -> None:
    data = json.dumps(value, default=str).encode()
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


def main(arguments: list[str]) -> None:
    """``arguments``: the seconds of processor time that one rule may take, and the languages to prepare."""
    seconds, languages = float(arguments[0]), arguments[1:]
    confine()
    write(sys.stdout.buffer, {"missing": prepare(languages)})
    while (request := read(sys.stdin.buffer)) is not None:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        found = answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write(sys.stdout.buffer, found)


if __name__ == "__main__":
    main(sys.argv[1:])
