"""What a server says about a value of the wrong type is told without the value."""

from __future__ import annotations

import pytest

from trimtab.targets.kubernetes.quoting import without_dumps

TYPED = "failed to create typed patch object (default/s; /v1, Kind=Secret): "


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("&value.valueUnstructured{Value:8675309}", "a number"),
        ("&value.valueUnstructured{Value:-1.5e+06}", "a number"),
        ("&value.valueUnstructured{Value:true}", "a boolean"),
        ("&value.valueUnstructured{Value:interface {}(nil)}", "nothing"),
        ('&value.valueUnstructured{Value:[]interface {}{"hunter2"}}', "a list"),
        ('&value.valueUnstructured{Value:map[string]interface {}{"x":"hunter2"}}', "a map"),
        ("&{hunter2}", "a text"),
        ("&{two\nlines}", "a text"),
    ],
)
def test_of_a_value_of_the_wrong_type_only_its_type_is_told(value: str, told: str) -> None:
    assert without_dumps(f"{TYPED}.data.a: expected string, got {value}") == f"{TYPED}.data.a: expected string, got {told}"
    several = f"{TYPED}errors:\n  .data.a: expected string, got {value}\n  .data.b: expected string, got {value}"
    assert without_dumps(several).count(f"expected string, got {told}") == 2
