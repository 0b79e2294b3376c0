"""What a Project forbids."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.limits import allows_repository, confines, glob, mandate, misplaced, outside_of, sourced_elsewhere
from trimtab.core.model.config import Metadata, Project, ProjectSpec
from trimtab.core.model.fetched import Fetched
from trimtab.core.model.mandate import OWN, Location, Mandate
from trimtab.testing.factories import app, manifest


def project(*kinds: str) -> Project:
    return Project(Metadata("web"), ProjectSpec(kinds=list(kinds)))


def test_without_a_list_every_kind_is_allowed() -> None:
    """No project, or one that names no kinds, forbids nothing."""
    assert outside_of(None, [manifest("Process", "web")]) == []
    assert outside_of(project(), [manifest("Process", "web")]) == []


def test_a_kind_that_is_not_listed_is_a_problem_where_it_stands() -> None:
    """The problem names file, line, project and what would be allowed."""
    (problem,) = outside_of(project("Proc*", "*/Task"), [manifest("Process", "web"), manifest("File", "motd", line=7)])
    assert (problem.file, problem.line, problem.field) == ("apps/motd.yaml", 7, "kind")
    assert problem.message == "File/motd: project web does not allow this kind"
    assert problem.remedy == "Allowed: Proc*, */Task"


def test_a_pattern_with_a_slash_is_about_group_and_kind() -> None:
    """`group/Kind` tells kinds of one name apart."""
    assert outside_of(project("host.trimtab.dev/File"), [manifest("File", "motd")]) == []
    assert outside_of(project("v1/File"), [manifest("File", "motd")]) != []


@given(st.text("ab*?.[", max_size=6), st.text("ab.[", max_size=6))
def test_patterns_mean_what_shells_mean_by_star_and_question_mark(pattern: str, text: str) -> None:
    """Brackets are themselves; all else is as in fnmatch."""
    assert glob(pattern, text) == fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def limited(**spec: object) -> Project:
    return Project(Metadata("web"), ProjectSpec(**spec))  # type: ignore[arg-type]


INSIDE, OUTSIDE, NOWHERE = Location("shop", wide=False), Location("kube-system", wide=False), Location()


def test_an_object_in_a_namespace_that_is_not_listed_is_a_problem_where_it_stands() -> None:
    """The target's word counts, so an object that names no namespace is judged by where it would go."""
    web, stray = manifest("Process", "web"), manifest("Process", "stray", line=7)
    (problem,) = misplaced(limited(namespaces=["shop*"]), [web, stray], {web.identity: INSIDE, stray.identity: OUTSIDE})
    assert (problem.file, problem.line, problem.field) == ("apps/stray.yaml", 7, "metadata.namespace")
    assert problem.message == "Process/stray: project web does not allow the namespace kube-system"
    assert problem.remedy == "Allowed: shop*"


def test_what_is_in_no_namespace_is_denied_as_soon_as_namespaces_are_limited() -> None:
    """Unless its kind is named, and then a namespace that it is has to be allowed all the same."""
    role, space = manifest("ClusterRole", "all"), manifest("Namespace", "kube-system", api_version="v1")
    locations = {role.identity: NOWHERE, space.identity: Location("kube-system", wide=True)}
    denied = misplaced(limited(namespaces=["shop"]), [role, space], locations)
    assert [(problem.field, problem.remedy) for problem in denied] == [("kind", "Allowed: none")] * 2
    denied = misplaced(limited(namespaces=["shop"], cluster_kinds=["*"]), [role, space], locations)
    assert [(problem.field, problem.remedy) for problem in denied] == [("metadata.name", "Allowed: shop")]
    assert misplaced(limited(namespaces=["kube-*"], cluster_kinds=["*"]), [role, space], locations) == []


def test_kinds_of_the_cluster_can_be_limited_without_limiting_namespaces() -> None:
    role, web = manifest("ClusterRole", "all"), manifest("Process", "web")
    locations = {role.identity: NOWHERE, web.identity: OUTSIDE}
    assert [one.field for one in misplaced(limited(cluster_kinds=["Namespace"]), [role, web], locations)] == ["kind"]


def test_a_kind_that_the_target_does_not_know_is_not_let_through() -> None:
    (problem,) = misplaced(limited(namespaces=["*"], cluster_kinds=["*"]), [manifest("Process", "web")], {})
    assert "does not know" in problem.message


@given(
    st.lists(st.sampled_from(["shop", "shop-*", "kube-?"]), max_size=2),
    st.lists(st.sampled_from(["ClusterRole", "*/Process", "*"]), max_size=2),
    st.sampled_from([INSIDE, OUTSIDE, NOWHERE, Location("shop", wide=True)]),
)
def test_a_wider_project_never_denies_what_a_narrower_one_allows(spaces: list[str], kinds: list[str], where: Location) -> None:
    """And one that does not limit places is never asked about them."""
    web = manifest("Process", "web")
    narrow, wide = limited(namespaces=spaces or ["none"], cluster_kinds=kinds), limited(namespaces=["*"], cluster_kinds=["*"])
    assert misplaced(wide, [web], {web.identity: where}) == []
    if not misplaced(narrow, [web], {web.identity: where}):
        wider = limited(namespaces=[*narrow.spec.namespaces, "more"], cluster_kinds=[*kinds, "More"])
        assert misplaced(wider, [web], {web.identity: where}) == []
    assert confines(narrow)
    assert not confines(limited(kinds=["Process"]))
    assert not confines(None)


def test_an_address_that_climbs_out_of_what_is_allowed_is_not_allowed() -> None:
    """`*` matches any text, so the way up is refused as such, written plainly or encoded; the configuration repository is always allowed."""
    project = limited(repositories=["https://git.example.com/team-a/*", "git@git.example.com:team-a/*"])
    assert allows_repository(project, "")
    assert allows_repository(project, "https://git.example.com/team-a/shop.git")
    for climbing in (
        "https://git.example.com/team-a/../team-b/shop.git",
        "https://git.example.com/team-a/%2e%2E/team-b/shop.git",
        "https://git.example.com/team-a/%252e%252e/team-b/shop.git",
        "git@git.example.com:team-a/../team-b/shop.git",
        "https://git.example.com/team-b/shop.git",
    ):
        assert not allows_repository(project, climbing)
        assert allows_repository(limited(), climbing)


def test_the_mandate_is_of_the_project_s_account_and_the_application_s_word_on_conflicts() -> None:
    assert mandate(None, None) == mandate(app("shop"), limited()) == OWN
    assert mandate(app("shop", conflicts="fail"), limited(account="deployer")) == Mandate("deployer", "fail")


ALLOWED = Project(Metadata("web"), ProjectSpec(repositories=["https://charts.example/*", "oci://registry.example/ours"]))


def test_charts_come_only_from_repositories_that_are_allowed() -> None:
    """Without a list from everywhere; what is not allowed is named where it stands, and no password of its address."""
    elsewhere = Fetched("https://ada:hidden@elsewhere.example/b", "", "charts.lock", 5, "charts[1].repository")
    (problem,) = sourced_elsewhere(ALLOWED, [Fetched("https://charts.example/a"), elsewhere])
    assert problem.message == "the Project web does not allow the chart repository https://***@elsewhere.example/b"
    assert (problem.file, problem.line, problem.field) == ("charts.lock", 5, "charts[1].repository")
    assert problem.remedy == "Allowed: https://charts.example/*, oci://registry.example/ours"
    assert sourced_elsewhere(project(), [elsewhere]) == []


@pytest.mark.parametrize(
    ("address", "within", "allowed"),
    [
        ("https://charts.example/a/web-1.tgz", "https://charts.example/a", True),
        ("https://charts.example/archives/web-1.tgz", "https://charts.example/a", True),
        ("oci://registry.example/ours/web@sha256:ab", "oci://registry.example/ours", True),
        ("oci://registry.example/ours-too/web@sha256:ab", "oci://registry.example/ours", False),
        ("oci://registry.example/ours/../theirs/web@sha256:ab", "oci://registry.example/ours", False),
        ("oci://registry.example/ours/%2e%2e/theirs/web", "oci://registry.example/ours/", False),
        ("https://elsewhere.example/web-1.tgz", "https://charts.example/a", False),
        ("http://169.254.169.254/latest/meta-data", "https://charts.example/a", False),
        ("http://charts.example/a/web-1.tgz", "https://charts.example/a", False),
        ("https://charts.example.evil.example/web-1.tgz", "https://charts.example", False),
    ],
)
def test_an_archive_lies_below_its_repository_or_where_the_project_allows(address: str, within: str, allowed: bool) -> None:
    """Whatever a lock, or the index of a repository, says."""
    found = sourced_elsewhere(ALLOWED, [Fetched(address, within)])
    assert [problem.message for problem in found] == (
        [] if allowed else [f"the Project web does not allow the archive {address}"]
    )
