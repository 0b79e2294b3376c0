"""Users, Groups and Grants in Git: what is wrong is told, and a broken one never gives more than it reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trimtab.core.decide.configuration import read
from trimtab.core.model.config import Configuration

from .test_configuration import EMPTY, configured, document, only

ADA = document("User", "ada")
BOB = document("User", "bob")
OPS = document("Group", "ops", "{users: [ada, bob]}")
DEPLOY = document("Grant", "deploy", "{role: deployer, users: [bob], groups: [ops], scope: {environments: [staging]}}")


def test_people_are_declared() -> None:
    """Users, Groups and Grants are read, each with its place; a scope that is not written is everything."""
    found = configured(ADA, BOB, OPS, DEPLOY)
    assert found.problems == ()
    assert found.groups["ops"].spec.users == ["ada", "bob"]
    assert found.grants["deploy"].spec.scope.environments == ["staging"]
    assert found.grants["deploy"].spec.scope.projects == ["*"]
    assert found.origins["Grant/deploy"].line > 1


def test_an_empty_list_in_a_scope_is_wrong() -> None:
    """A list that came out empty must not read as everything."""
    problem = only(configured(ADA, document("Grant", "g", "{role: admin, users: [ada], scope: {environments: []}}")))
    assert problem.field == "spec.scope.environments"
    assert "empty" in problem.message


@pytest.mark.parametrize(
    ("text", "field", "message", "remedy"),
    [
        (document("Group", "g", "{users: [adda]}"), "spec.users[0]", "there is no User adda", 'Did you mean "ada"?'),
        (document("Group", "g", "{groups: [x]}"), "spec.groups[0]", "there is no Group x", "Known here: g"),
        (document("Grant", "g", "{role: reader, users: [nobody-x]}"), "spec.users[0]", "there is no User nobody-x", "Known here: ada"),
        (document("Grant", "g", "{role: reader, groups: [ops]}"), "spec.groups[0]", "there is no Group ops", "Declare the Group ops"),
        (document("Grant", "g", "{role: reader}"), "spec.users", "it is given to nobody", "Name users or groups"),
        (document("Grant", "g", "{role: reeder, users: [ada]}"), "spec.role", '"reeder" is not known here', 'Did you mean "reader"?'),
        (document("User", "operator"), "metadata.name", "operator is what the holder", "Choose another name"),
        (document("User", "u", "{emails: [not-one]}"), "spec.emails[0]", "not-one is no address", "Write name@domain"),
        (document("User", "u", "{sshKeys: [ssh-dss AAAA]}"), "spec.sshKeys[0]", "this is no SSH public key", "Write what stands"),
        (document("User", "u", "{sshKeys: ['ssh-ed25519 AAAA']}"), "spec.sshKeys[0]", "this key is damaged", "Write what stands"),
        (document("User", "u", "{openpgpKeys: [hello]}"), "spec.openpgpKeys[0]", "this is no OpenPGP public key", "Write what `gpg"),
        (document("User", "u", "{openpgpKeys: ['-----BEGIN PGP PRIVATE KEY BLOCK-----']}"), "spec.openpgpKeys[0]", "a private key", "Make a new"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where_it_stands(text: str, field: str, message: str, remedy: str) -> None:
    """Each mistake is a Problem with the field and what to do; the key itself is never shown."""
    problem = only(configured(ADA, text))
    assert problem.field == field
    assert message in problem.message
    assert remedy in problem.remedy
    assert "AAAA" not in str(problem)


def test_groups_in_a_circle() -> None:
    """A circle of Groups is told at each of them, and gives nobody anything."""
    found = configured(document("Group", "a", "{groups: [b]}"), document("Group", "b", "{groups: [a]}"))
    assert {problem.message for problem in found.problems} >= {"a would hold itself", "b would hold itself"}
    assert found.groups == {}


def test_a_key_belongs_to_one_user(tmp_path: Path) -> None:
    """Two Users with one key would be one person under two names."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    key = (tmp_path / "key.pub").read_text().strip()
    assert configured(document("User", "ada", f"{{sshKeys: ['{key}'], emails: [a@b.example]}}")).problems == ()
    twice = configured(
        document("User", "ada", f"{{sshKeys: ['{key}']}}"), document("User", "bob", f"{{sshKeys: ['{key} other comment']}}")
    )
    assert [problem.message for problem in twice.problems] == ["bob has this key too", "ada has this key too"]
    mails = configured(document("User", "ada", "{emails: [a@b.example]}"), document("User", "bob", "{emails: [A@B.example]}"))
    assert len(mails.problems) == 2


BEFORE = configured(ADA, BOB, OPS, DEPLOY)


def after(*texts: str) -> Configuration:
    return configured(*texts, before=BEFORE)


def test_a_broken_grant_gives_what_it_gave_to_those_it_still_names() -> None:
    """A slip elsewhere in the document does not bring back whom it no longer names."""
    found = after(ADA, BOB, OPS, DEPLOY.replace("users: [bob]", "users: [], slip: 1"))
    assert found.grants["deploy"].spec.users == []
    assert found.grants["deploy"].spec.groups == ["ops"]
    assert found.doubtful == ("Grant/deploy",)


@pytest.mark.parametrize(
    "change",
    [
        ("deployer", "readr"),
        ("[staging]", "[test], slip: [x]"),
        ("environments", "enviroments"),
        ("users:", "emergency: 1, users:"),
    ],
)
def test_a_broken_grant_that_reads_otherwise_gives_nothing(change: tuple[str, str]) -> None:
    """Where role, scope or emergency can no longer be read as they were, the Grant gives nothing until it is mended."""
    found = after(ADA, BOB, OPS, DEPLOY.replace(*change))
    assert found.problems
    grant = found.grants["deploy"]
    assert (grant.spec.users, grant.spec.groups) == ([], [])


def test_a_broken_group_loses_whom_it_no_longer_names() -> None:
    """The same for members of a Group; it gains nobody."""
    found = after(ADA, BOB, document("Group", "ops", "{users: [ada, cyd]}"), DEPLOY)
    assert found.groups["ops"].spec.users == ["ada"]


def test_a_broken_user_is_disabled_when_it_says_so() -> None:
    """`disabled` holds in a broken document too, however it is spelled."""
    for text in ("{disabled: true, slip: 1}", "{disabled: 'yes'}", "{disabled: 1}"):
        assert after(document("User", "ada", text), BOB, OPS, DEPLOY).users["ada"].spec.disabled, text
    assert not after(document("User", "ada", "{slip: 1}"), BOB, OPS, DEPLOY).users["ada"].spec.disabled


def test_an_unreadable_file_leaves_its_people_as_they_were() -> None:
    """One tab too many locks nobody out: what the file declared before holds until it can be read again."""
    found = after(ADA, BOB, OPS, DEPLOY, "\t: [")
    assert not found.complete
    assert (found.users, found.groups, found.grants) == (BEFORE.users, BEFORE.groups, BEFORE.grants)


def test_what_is_gone_from_a_good_file_is_gone_while_another_is_broken() -> None:
    """Elsewhere nothing is gone while a file cannot be read; a right that was taken away is."""
    files = {
        ".trimtab/people.yaml": f"{ADA}---\n{BOB}".encode(),
        ".trimtab/grants.yaml": DEPLOY.replace("groups: [ops], ", "").encode(),
    }
    before = read(files, EMPTY)
    assert before.problems == ()
    found = read({".trimtab/people.yaml": ADA.encode(), ".trimtab/grants.yaml": b"\t: ["}, before)
    assert set(found.users) == {"ada"}
    assert set(found.grants) == {"deploy"}


def test_a_new_grant_that_is_wrong_gives_nothing() -> None:
    """Where nothing was declared before, nothing is given."""
    assert configured(ADA, document("Grant", "g", "{role: admin, users: [ada, x]}")).grants == {}
