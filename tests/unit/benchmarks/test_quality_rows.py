from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality_rows import (
    Measured,
    Row,
    read_measured,
    table,
    table_of_domains,
    write_measured,
)
from exporter.evaluation.figures import figures
from exporter.evaluation.statistics import Agreement


def agreement(kl: float) -> Agreement:
    spread = np.linspace(0, 2 * kl, 320)
    nll = np.linspace(1, 3, 320)
    return Agreement(spread, np.arange(320) % 4 > 0, nll, nll + 0.01)


def row(subject: str, weights: str, nbytes: int) -> Row:
    found = {"english": agreement(0.1), "hindi": agreement(0.3)}
    by_domain = {name: figures({name: each}) for name, each in found.items()}
    return Row(subject, weights, nbytes, 4.5, figures(found), by_domain)


ROWS = (row("int8", "original", 300), row("llama.cpp Q4_0", "off-grid", 200), row("int4", "original", 200))


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    measured = Measured("ab" * 32, 9000, ROWS)
    write_measured(tmp_path / "rows.json", measured)
    assert read_measured(tmp_path / "rows.json", "ab" * 32, 9000) == measured


def test_without_a_file_nothing_was_measured(tmp_path: Path) -> None:
    assert read_measured(tmp_path / "none.json", "ab", 9).rows == ()


def test_rows_of_another_text_are_not_mixed_in(tmp_path: Path) -> None:
    write_measured(tmp_path / "rows.json", Measured("ab", 9000, ROWS))
    with pytest.raises(SystemExit, match="another evaluation text"):
        read_measured(tmp_path / "rows.json", "cd", 9000)


def test_the_tables_are_in_order_of_weights_and_size_and_name_the_worst_domain() -> None:
    lines = table(ROWS).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| llama.cpp Q4_0", "| int4", "| int8"]
    assert all(line.endswith("| hindi, 0.3000 |") for line in lines)
    assert "| 0.2000 ± 0.0" in lines[0]
    assert "75.0% ± 0.0" in lines[0]
    assert "| 1.0101 ± 0.0000 |" in lines[0]


def test_every_domain_has_its_column() -> None:
    head, _, *lines = table_of_domains(ROWS).splitlines()
    assert head == "| subject | weights | english | hindi |"
    assert len(lines) == len(ROWS)
    assert "| 0.1 ± 0.0" in lines[0]
