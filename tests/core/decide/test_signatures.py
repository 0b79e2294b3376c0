"""What an Environment asks of signatures, and which configuration is trusted to say so."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.signatures import Trust, differs, keys, missing, next_trust, trust_of
from trimtab.core.model.config import Configuration, Environment, EnvironmentSpec, Signatures
from trimtab.core.model.kind import Metadata
from trimtab.core.model.people import Group, GroupSpec, User, UserSpec
from trimtab.core.model.signature import Signature, State

from .test_configuration import configured, document, only

RULE = Signatures(required=True, by=["ops"])


def user(name: str, *ssh: str, disabled: bool = False) -> User:
    return User(Metadata(name), UserSpec(ssh_keys=list(ssh), disabled=disabled))


def configuration(*users: User, rule: Signatures = RULE, members: tuple[str, ...] = ("ada",)) -> Configuration:
    return Configuration(
        environments={"production": Environment(Metadata("production"), EnvironmentSpec(signatures=rule))},
        users={one.metadata.name: one for one in users},
        groups={"ops": Group(Metadata("ops"), GroupSpec(users=list(members)))},
    )


BASE = configuration(user("ada", "k-ada"), user("bob", "k-bob"))
TRUST = trust_of(BASE)


def test_what_is_missing_is_said_with_who_can() -> None:
    """Each state but a good one of the right person is a reason that names the commit and who lifts it."""
    lift = "A commit on top of it that is signed by a member of ops lifts this"
    for state, words in (
        ("unsigned", "is not signed"),
        ("unknown", "a key that Git does not declare (SHA256:x)"),
        ("bad", "does not fit it"),
        ("expired", "a key that is expired"),
        ("revoked", "a key that is revoked"),
    ):
        why = missing(Signature(state, detail="SHA256:x"), RULE, TRUST, revision="f" * 40)  # type: ignore[arg-type]
        assert words in why
        assert why.startswith("commit ffffffffffff ")
        assert why.endswith(lift)
    assert missing(Signature("good", "ada"), RULE, TRUST, revision="f") == ""
    assert "bob, who is in none of ops" in missing(Signature("good", "bob"), RULE, TRUST, revision="f")
    assert missing(Signature("good", "bob"), Signatures(required=True), TRUST, revision="f") == ""


def test_keys_that_count() -> None:
    """Those that were trusted and are still declared: a new one waits for a signed commit, one that is gone counts no more."""
    now = configuration(user("ada", "k-ada", "k-new"), user("eve", "k-eve"))
    assert keys(TRUST, now).ssh == (("ada", "k-ada"),)
    assert keys(TRUST, configuration(user("ada", "k-ada", disabled=True), user("bob"))).ssh == ()


def test_the_first_rule_is_believed() -> None:
    """While nothing asks for signatures, whatever is declared is trusted."""
    assert not differs(Trust(), TRUST)
    assert next_trust(Trust(), TRUST, None, revision="f") == (TRUST, "")


def test_people_and_rules_change_by_a_signed_commit_alone() -> None:
    """A commit that brings its own key, joins a Group, or takes the rule away changes nothing of it until it is signed as the rule asks."""
    for offered in (
        configuration(user("ada", "k-ada"), user("bob", "k-bob"), user("eve", "k-eve")),
        configuration(user("ada", "k-ada"), user("bob", "k-bob"), members=("ada", "bob")),
        configuration(user("ada", "k-ada"), user("bob", "k-bob"), rule=Signatures()),
        Configuration(),
    ):
        new = trust_of(offered)
        for signature in (Signature("unsigned"), Signature("good", "bob"), Signature("unknown")):
            kept, why = next_trust(TRUST, new, signature, revision="f" * 40)
            assert kept == TRUST
            assert "Environment production: commit ffffffffffff" in why
        assert next_trust(TRUST, new, Signature("good", "ada"), revision="f") == (new, "")


signatures = st.builds(Signature, st.sampled_from(get_args(State)), st.sampled_from(["", "ada", "bob", "eve"]))
rules = st.builds(Signatures, st.just(True), st.sampled_from([[], ["ops"], ["other"]]))


@given(signatures, rules)
def test_law_only_a_good_signature_opens(signature: Signature, rule: Signatures) -> None:
    """Nothing but a good signature ever keeps a rule, and with Groups only one of a member."""
    if missing(signature, rule, TRUST, revision="f") == "":
        assert signature.state == "good"
        assert not rule.by or (signature.user == "ada" and rule.by == ["ops"])


def test_a_group_that_is_not_there() -> None:
    """A rule that names a Group which Git does not declare is wrong, and the rule of before holds."""
    before = configured(document("Environment", "production", "{signatures: {required: true}}"))
    text = document("Environment", "production", "{signatures: {required: true, by: [ops]}}")
    found = configured(text, before=before)
    assert only(found).field == "spec.signatures.by[0]"
    assert found.environments["production"].spec.signatures == Signatures(required=True)
