"""Which installation a data directory is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.core.model.errors import UserError
from trimtab.wiring.data import named


def test_a_new_data_directory_gets_the_name_that_is_given_or_one_of_chance(tmp_path: Path) -> None:
    assert named(tmp_path / "one", "platform", lambda: "chance") == "platform"
    assert named(tmp_path / "two", "", lambda: "chance") == "chance"


def test_a_data_directory_keeps_its_name(tmp_path: Path) -> None:
    """Said again, or not said, it is the same; another one is refused, since what is owned would be a stranger's."""
    named(tmp_path / "installation", "platform", str)
    assert named(tmp_path / "installation", "platform", str) == named(tmp_path / "installation", "", str) == "platform"
    with pytest.raises(UserError, match=r"is that of platform, which owns what it has applied"):
        named(tmp_path / "installation", "other", str)
    assert (tmp_path / "installation").read_text().strip() == "platform"


@pytest.mark.parametrize("name", ["Platform", "-a", "a-", "a/b", "a" * 64, "a\nb", "ä"])
def test_a_name_that_could_not_be_a_label_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="that is no name"):
        named(tmp_path / "installation", name, str)
    assert not (tmp_path / "installation").exists()
