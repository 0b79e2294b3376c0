"""Users' own rules: what they may say, and that nothing they do harms or holds the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.plumbing import sandbox
from trimtab.targets.kubernetes import rules as module
from trimtab.targets.kubernetes.rules import CelRule, Rules, UserRule

Make = Callable[..., Rules]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Rules that are closed after the test."""
    made: list[Rules] = []

    def build(*rules: UserRule, seconds: float = 5.0) -> Rules:
        made.append(Rules(rules, rule_seconds=seconds))
        return made[-1]

    yield build
    for each in made:
        await each.close()


def lua(script: str, kind: str = "Widget") -> UserRule:
    return UserRule("example.test", kind, lua=script)


def cel(kind: str = "Widget", **expressions: str) -> UserRule:
    return UserRule("example.test", kind, cel=CelRule(**expressions))


def widget(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "example.test/v1", "kind": "Widget", "metadata": {"name": "it"}, **parts}


ARGO = """
local hs = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for i, condition in ipairs(obj.status.conditions) do
    if condition.type == "Ready" and condition.status == "False" then
      hs.status = "Degraded"
      hs.message = condition.message
      return hs
    end
    if condition.type == "Ready" and condition.status == "True" then
      hs.status = "Healthy"
      return hs
    end
  end
end
hs.status = "Progressing"
hs.message = "waiting for " .. obj.metadata.name
return hs
"""


async def test_a_script_written_for_argo_cd_decides(make: Make) -> None:
    rules = make(lua(ARGO))
    assert await rules.assess(widget()) == Health(HealthStatus.PROGRESSING, "waiting for it")
    assert await rules.assess(widget(status={"conditions": [{"type": "Ready", "status": "True"}]})) == HEALTHY
    ill = widget(status={"conditions": [{"type": "Ready", "status": "False", "message": "no \x1b[1mroom"}]})
    assert await rules.assess(ill) == Health(HealthStatus.DEGRADED, "no room")


async def test_expressions_decide_in_the_order_of_what_is_wrong(make: Make) -> None:
    rule = cel(
        healthy="status.ready >= spec.replicas",
        degraded="has(status.error) && status.error != ''",
        suspended="has(spec.off) && spec.off",
        message="has(status.error) ? 'error: ' + status.error : string(status.ready) + ' of ' + string(spec.replicas)",
    )
    rules = make(rule)
    assert await rules.assess(widget(spec={"replicas": 2}, status={"ready": 2})) == HEALTHY
    assert await rules.assess(widget(spec={"replicas": 2}, status={"ready": 1})) == Health(HealthStatus.PROGRESSING, "1 of 2")
    broken = widget(spec={"replicas": 2}, status={"ready": 2, "error": "no disk"})
    assert await rules.assess(broken) == Health(HealthStatus.DEGRADED, "error: no disk")
    off = await rules.assess(widget(spec={"replicas": 2, "off": True}, status={"ready": 0}))
    assert off is not None
    assert off.status == HealthStatus.SUSPENDED


async def test_an_expression_about_a_field_that_is_not_there_is_not_true(make: Make) -> None:
    found = await make(cel(healthy="status.ready == 1")).assess(widget())
    assert found is not None
    assert (found.status, "none of its rule's expressions is true" in found.message) == (HealthStatus.PROGRESSING, True)


async def test_kinds_without_a_rule_are_not_touched_and_patterns_match(make: Make) -> None:
    rules = make(UserRule("*.test", "W*", lua='return {status = "Healthy"}'))
    assert await rules.assess({"apiVersion": "v1", "kind": "Pod"}) is None
    assert await rules.assess({"kind": 7}) is None
    assert await rules.assess(widget()) == HEALTHY


async def test_a_script_without_an_opinion_leaves_it_to_the_tables(make: Make) -> None:
    assert await make(lua("return {}")).assess(widget()) is None


async def test_an_object_that_is_being_deleted_is_on_its_way_whatever_a_rule_says(make: Make) -> None:
    going = widget(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a"]})
    found = await make(lua('return {status = "Healthy"}')).assess(going)
    assert found == Health(HealthStatus.PROGRESSING, "is being deleted, held by its finalizers: a")


WRONG = [
    ("return 1 +", "rule:1:"),
    ("return nil", "no table"),
    ("error('oh')", "oh"),
    ("error({})", "no text"),
    ('return {status = "Fine"}', "'Fine'"),
    ("while true do end", "too many steps"),
    ("while true do pcall(function() while true do end end) end", "too many steps"),
    ("local s = 'x' while true do s = s .. s end", "not enough memory"),
    ("return io.open('/etc/passwd')", "nil value (global 'io')"),
    ("return os.execute('true')", "nil value (field 'execute')"),
    ("return os.getenv('HOME')", "nil value (field 'getenv')"),
    ("return require('os')", "nil value (global 'require')"),
    ("return load('return 1')", "nil value (global 'load')"),
    ("return python.eval('1')", "nil value (global 'python')"),
    ("return debug.getregistry()", "nil value (global 'debug')"),
    ("getmetatable('').__index.rep = nil", "nil value"),
    ("return string.dump(function() end)", "nil value (field 'dump')"),
    ("return setmetatable({}, {__index = function() while true do end end}).status", "too many steps"),
]


async def test_a_script_that_is_wrong_or_reaches_out_gives_unknown_health_with_the_reason(make: Make) -> None:
    rules = make(*(lua(script, kind=f"Widget{number}") for number, (script, _) in enumerate(WRONG)))
    for number, (script, says) in enumerate(WRONG):
        found = await rules.assess({**widget(), "kind": f"Widget{number}"})
        assert found is not None, script
        assert (found.status, says in found.message) == (HealthStatus.UNKNOWN, True), (script, found)


async def test_a_script_leaves_nothing_behind_for_the_next(make: Make) -> None:
    rules = make(lua('x = 1; string.rep = nil; return {status = "Healthy"}'), lua("return {status = x}", kind="Gadget"))
    assert await rules.assess(widget()) == HEALTHY
    assert await rules.assess({**widget(), "kind": "Gadget"}) is None


BACKTRACKS = "return {status = string.find(string.rep('a', 5000), string.rep('a-', 30) .. 'b') and 'Healthy' or 'Degraded'}"


async def test_a_pattern_that_backtracks_is_ended_and_after_three_times_not_run_again(make: Make) -> None:
    rules = make(lua(BACKTRACKS), lua(ARGO, kind="Gadget"), seconds=0.2)
    for _ in range(module.STRIKES_MAX):
        found = await rules.assess(widget())
        assert found is not None
        assert "took longer than 0.2 s" in found.message
    found = await rules.assess(widget())
    assert found is not None
    assert "not run again" in found.message
    other = await rules.assess({**widget(), "kind": "Gadget"})
    assert other == Health(HealthStatus.PROGRESSING, "waiting for it")


async def test_the_check_names_each_rule_that_is_wrong(make: Make) -> None:
    rules = make(
        lua(ARGO),
        lua("return {", kind="Broken"),
        cel(kind="Typo", healthy="staus.ready"),
        cel(kind="Syntax", healthy="status.ready =="),
        cel(kind="Good", healthy="status.ready == 1"),
        UserRule("example.test", "Neither"),
        lua("-" * 70_000, kind="Long"),
    )
    problems = await rules.check()
    assert [problem.message.split(" ")[4].partition("/")[2] for problem in problems] == [
        *("Broken", "Typo", "Syntax", "Neither", "Long")
    ]
    assert [problem.field for problem in problems] == [f"spec.target.health[{number}]" for number in (1, 2, 3, 5, 6)]


async def test_a_rule_that_is_wrong_in_itself_leaves_it_to_the_tables_and_says_so(make: Make) -> None:
    rules = make(lua("return {", kind="*"))
    await rules.check()
    found = await rules.assess({**widget(status={"conditions": [{"type": "Ready", "status": "False", "message": "no disk"}]})})
    assert found is not None
    assert found.status == HealthStatus.PROGRESSING
    assert "no disk" in found.message
    assert "judged without the health rule of example.test/*, which" in found.message


async def test_many_objects_are_asked_about_together_and_a_rule_that_hangs_costs_only_its_own(make: Make) -> None:
    """The process dies three times of the one rule and answers for all the others, in order."""
    rules = make(lua(BACKTRACKS, kind="Bad"), lua("return {status = obj.status.word}"), seconds=0.2)
    words = ["Healthy", "Degraded", "Suspended"] * 20
    objects = [{**widget(status={"word": word}), "kind": "Bad" if at % 6 == 1 else "Widget"} for at, word in enumerate(words)]
    found = await rules.assess_all(objects)
    for at, (word, one) in enumerate(zip(words, found, strict=True)):
        assert one is not None
        assert one.status == ("unknown" if at % 6 == 1 else word.lower())


async def test_without_its_package_a_rule_says_what_to_install_as_often_as_it_is_asked(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "ISOLATED", ("-I", "-S"))  # an interpreter without site-packages
    rules = make(lua(ARGO), cel(kind="Gadget", healthy="true"))
    for _ in range(module.STRIKES_MAX + 1):
        found = await rules.assess(widget())
        assert found is not None
        assert found.message == "the health rule of example.test/Widget needs a package that is not installed: install lupa"
    assert [problem.message.rpartition(" ")[2] for problem in await rules.check()] == ["lupa", "common-expression-language"]


async def test_an_expression_that_takes_too_long_is_ended(make: Make) -> None:
    numbers = str(list(range(30)))
    expression = f"{numbers}.exists(x, " * 7 + "x > 99" + ")" * 7
    found = await make(cel(healthy=expression), seconds=0.2).assess(widget())
    assert found is not None
    assert (found.status, "took longer than 0.2 s" in found.message) == (HealthStatus.UNKNOWN, True)


async def test_a_rule_that_is_given_up_does_not_answer_the_next_question(make: Make) -> None:
    rules = make(lua("local n = 0 for i = 1, 5000000 do n = n + i end return {status = 'Degraded'}"), lua(ARGO, kind="Gadget"))
    await rules.assess({**widget(), "kind": "Gadget"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rules.assess(widget()), 0.001)
    assert await rules.assess({**widget(), "kind": "Gadget"}) == Health(HealthStatus.PROGRESSING, "waiting for it")


async def test_a_number_that_lua_cannot_hold_and_a_deep_object_do_no_harm(make: Make) -> None:
    rules = make(lua('return {status = "Healthy"}'))
    assert await rules.assess(widget(spec={"big": 2**80, "none": None, "list": [1, None, 2], "text": "\u00e9\u0000"})) == HEALTHY
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    assert await rules.assess(widget(spec=deep)) is not None
    assert await rules.assess(widget()) == HEALTHY
