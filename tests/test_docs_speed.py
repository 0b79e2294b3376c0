"""docs/reference/speed.md shows a plot of figures that stand beside it: the plot is the one that these figures make."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from bench.clusters import growth
from bench.clusters.plot import Line, Panel, nice, svg

DOCS = Path(__file__).parent.parent / "docs" / "reference"


def test_the_plot_is_that_of_the_figures(tmp_path: Path) -> None:
    found = json.loads((DOCS / "growth.json").read_text())
    growth.write(found, tmp_path / "growth.json", tmp_path / "growth.svg")
    assert (tmp_path / "growth.svg").read_text() == (DOCS / "growth.svg").read_text()
    assert (tmp_path / "growth.json").read_text() == (DOCS / "growth.json").read_text()


def test_every_line_has_a_point_for_every_size_inside_its_panel() -> None:
    text = svg(
        "<a title>", [1, 10], [Panel("one", [Line("a", [1.0, 3.0]), Line("b", [0.0, 0.0])]), Panel("two", [Line("c", [9, 9])])]
    )
    root = ElementTree.fromstring(text)
    points = root.findall(".//{*}circle")
    assert len(points) == 6
    assert all(0 < float(point.attrib["cx"]) < 330 and 0 < float(point.attrib["cy"]) < 230 for point in points)


def test_an_axis_ends_at_a_round_number_just_above() -> None:
    assert [nice(value) for value in (0, 0.03, 0.9, 1, 3.1, 110, 165.77)] == [1, 0.04, 1, 1, 4, 200, 200]
