"""The documents are about this tree: every path they name exists, every name "of" a file is in that file,
and every directory of tests is explained.

Not about whether what they say of it is true.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.structure import PACKAGES, ROOT

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCUMENTS = [ROOT / "README.md", CONTRIBUTING, *sorted((ROOT / "docs").rglob("*.md"))]
TOP = (*PACKAGES, "tests", "benchmarks", "samples", "device_profiles", "docs")
NAMED = re.compile(rf"(?<![\w./-])(?:{'|'.join(TOP)})/[\w./-]*(?:[*<{{][^\s`)]*)?")
NAME_OF_FILE = re.compile(rf"`(\w+)` (?:of|in) `((?:{'|'.join(TOP)})/[\w./-]+\.py)`")
DEFINED = r"^(?:\s*def |\s*class |){name}\b(?:\(|:| =)"


def missing(text: str) -> list[str]:
    """Paths a text names that do not exist. Of a pattern or placeholder, the directory it is in."""
    return [named for named in NAMED.findall(text) if not is_there(certain(named))]


def is_there(path: str) -> bool:
    """Whether a path exists; of a decision (`docs/adr/0001`), its number is enough."""
    decision = re.fullmatch(r"docs/adr/\d{4}", path)
    return (ROOT / path).exists() or (decision is not None and any(ROOT.glob(f"{path}-*.md")))


def certain(named: str) -> str:
    """The part of a path before what stands for something else, or the whole path."""
    whole = named.split("::")[0].rstrip(".")
    open_ended = re.search(r"[*<{]", whole)
    return whole if open_ended is None else whole[: open_ended.start()].rpartition("/")[0]


def undefined(text: str) -> list[tuple[str, str]]:
    """Names a text says a file has, and the file, where it has no such definition."""
    found = []
    for name, file in NAME_OF_FILE.findall(text):
        source = (ROOT / file).read_text(encoding="utf-8")
        if re.search(DEFINED.format(name=name), source, re.MULTILINE) is None:
            found.append((name, file))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_path_a_document_names_exists(document: Path) -> None:
    assert missing(document.read_text(encoding="utf-8")) == []


def test_how_to_contribute_names_paths_and_what_is_in_them() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    assert len(set(NAMED.findall(text))) > 40
    assert len(NAME_OF_FILE.findall(text)) >= 10
    assert undefined(text) == []


def test_every_directory_of_tests_is_explained() -> None:
    table = CONTRIBUTING.read_text(encoding="utf-8")
    directories = {path.parent for path in (ROOT / "tests").glob("*/__init__.py")}
    unexplained = {
        path.name for path in directories if f"`{path.relative_to(ROOT).as_posix()}/`" not in table
    }
    assert unexplained == set()


@pytest.mark.parametrize(
    "wrong",
    [
        "see `exporter/no_such.py`",
        "(tests/parity/test_gone.py)",
        "`docs/gone.md`.",
        "docs/adr/9999",
        "`exporter/gone/*.py`",
        "`device_profiles/old/<name>.toml`",
        "`tests/unit/test_ci_rule_gone.py::test_it`",
    ],
)
def test_a_path_that_is_gone_is_found(wrong: str) -> None:
    assert len(missing(wrong)) == 1


def test_a_path_that_is_there_is_left_alone() -> None:
    text = (
        "`exporter/schemes.py`, tests/unit/. `device_profiles/<name>.toml`, `tests/**/*.py`, docs/adr/0001."
    )
    assert missing(text) == []
    assert len(NAMED.findall(text)) == 5


def test_a_name_a_file_does_not_have_is_found() -> None:
    assert undefined("`SCHEMES` of `exporter/schemes.py`") == []
    assert undefined("`GONE` of `exporter/schemes.py`") == [("GONE", "exporter/schemes.py")]
