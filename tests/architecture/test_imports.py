"""`runtimes` imports the standard library and, driver by driver, the packages named here: nothing else.

What `exporter` may import, and who may import whom, import-linter checks (pyproject.toml).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import grimp
import pytest

EVERYWHERE = frozenset({"numpy"})
# A device installs numpy, one vendor's runtime, and for pictures Pillow, for sounds soundfile and soxr.
# flatbuffers comes with LiteRT's: it wrote the schema.
DRIVERS = {
    "runtimes.arm64": frozenset[str](),  # runs the others elsewhere
    "runtimes.coreml": frozenset({"coremltools"}),
    "runtimes.images": frozenset({"PIL"}),
    "runtimes.litert": frozenset({"ai_edge_litert", "flatbuffers"}),
    "runtimes.mil": frozenset[str](),
    "runtimes.multimodal": frozenset[str](),
    "runtimes.onnx": frozenset({"onnxruntime"}),
    "runtimes.sounds": frozenset({"soundfile", "soxr"}),
}


def foreign(graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
    """Every import of `runtimes` that leaves it and the standard library: (importer, package)."""
    for importer in sorted(graph.modules):
        if importer.split(".")[0] == "runtimes" and not graph.is_module_squashed(importer):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                package = imported.split(".")[0]
                if package != "runtimes" and package not in sys.stdlib_module_names:
                    yield importer, package


def allowed(importer: str) -> frozenset[str]:
    """Packages a module of `runtimes` may import."""
    driver = ".".join(importer.split(".")[:2])
    return EVERYWHERE | DRIVERS.get(driver, frozenset())


def strangers(graph: grimp.ImportGraph) -> list[str]:
    """Imports that are on no list, in words."""
    return [
        f"{importer} imports {package}"
        for importer, package in foreign(graph)
        if package not in allowed(importer)
    ]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("runtimes", include_external_packages=True, cache_dir=None)


def test_no_runtime_imports_a_package_that_is_not_on_its_list(graph: grimp.ImportGraph) -> None:
    assert strangers(graph) == []


def test_every_package_on_a_list_is_imported_there(graph: grimp.ImportGraph) -> None:
    imported = set(foreign(graph))
    for driver, packages in DRIVERS.items():
        for package in packages | EVERYWHERE:
            assert any(name.startswith(driver) and found == package for name, found in imported)


def test_every_driver_has_a_list(graph: grimp.ImportGraph) -> None:
    rooms = {name for name in graph.find_children("runtimes") if graph.find_children(name)}
    assert rooms == set(DRIVERS)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("runtimes.manifest", "pydantic"),
        ("runtimes.manifest", "exporter"),
        ("runtimes.session", "onnxruntime"),
        ("runtimes.litert.calls", "onnxruntime"),
        ("runtimes.mil.wire", "coremltools"),
        ("runtimes.onnx.session", "torch"),
    ],
)
def test_a_stranger_is_found_by_name(importer: str, imported: str) -> None:
    changed = grimp.build_graph("runtimes", include_external_packages=True, cache_dir=None)
    changed.add_import(importer=importer, imported=imported)
    assert strangers(changed) == [f"{importer} imports {imported}"]
