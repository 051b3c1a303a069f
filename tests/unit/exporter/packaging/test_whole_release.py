"""All pieces of a release in the order the exporter writes them: reports, licences, card, seal, rename.

Asserts that they fit together and that the same input gives the same bytes. Artifacts are stand-ins.
"""

from __future__ import annotations

from pathlib import Path

from exporter.formats.family import Prompting
from exporter.packaging.licences import write_licence_pack
from exporter.packaging.model_card import ModelCard, write_model_card
from exporter.packaging.origin import origin_of
from exporter.packaging.release import Runnable, participating_versions, seal_release, sizes, verify_release
from exporter.packaging.staging import staged_release
from exporter.views.card_quality import measured_quality
from exporter.views.json_report import read_report
from exporter.views.release_files import write_views
from runtimes.manifest import Artifact, read_manifest
from tests.golden.reports import passing
from tests.jobs import a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3

ARTIFACTS = (Artifact("text", "onnx", "onnx/model.onnx", 64, 512, 16, "last"),)


def write(out: Path) -> Path:
    source = RandomSource(tiny_gemma3())
    plan = a_plan(source, a_variant("int8", ("onnx",)))
    spec = source.components["text"].spec
    with staged_release(out, force=True) as under_way:
        staging = under_way.directory
        (staging / "onnx").mkdir()
        (staging / "onnx/model.onnx").write_bytes(b"graph")
        write_views(passing(), staging)
        licence = write_licence_pack(
            staging,
            model=source.name,
            model_type=spec.model_type,
            documents=None,
            modified=tuple(artifact.path for artifact in ARTIFACTS),
            change="Its weights were quantised with the recipe int8.",
        )
        card = ModelCard(
            model=source.name,
            model_type=spec.model_type,
            parameters=spec.parameter_count(),
            towers={},
            source_digests=source.digests(),
            recipe=plan.variant.recipe.name,
            target=plan.variant.name,
            context=plan.variant.context,
            scheme_counts=plan.scheme_counts(),
            left_out=source.left_out,
            remarks=source.remarks,
            artifacts=ARTIFACTS,
            rings=frozenset(),
            prompting=Prompting("<bos>", chat=False),
            origin=origin_of(source),
            quality=measured_quality(passing()),
            licence=licence,
        )
        write_model_card(staging, card)
        seal_release(
            staging,
            source=source,
            plan=plan,
            runnable=Runnable(ARTIFACTS),
            versions=participating_versions(plan.variant.formats),
        )
    return out


def test_the_pieces_make_a_release_that_verifies(tmp_path: Path) -> None:
    release = write(tmp_path / "release")
    assert verify_release(release) == ()
    assert set(sizes(release)) == {
        "NOTICE",
        "README.md",
        "SHA256SUMS",
        "junit.xml",
        "manifest.json",
        "onnx/model.onnx",
        "report.html",
        "report.json",
        "report.md",
        "report.schema.json",
    }
    assert read_manifest(release).artifacts == ARTIFACTS
    assert read_report(release / "report.json") == passing()


def test_the_same_input_gives_the_same_bytes_also_over_an_old_release(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first"), write(tmp_path / "second")
    write(second)
    assert sizes(first) == sizes(second)
    for path in sizes(first):
        assert (first / path).read_bytes() == (second / path).read_bytes(), path
