"""What several variants of a job share is made once: stores, the references' logits, equal artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from exporter import pipeline
from exporter.job import Job
from exporter.lowering.interface import Lowering, LoweringOrder
from exporter.lowering.table import lowerings_for
from exporter.packaging.staging import staged_release
from exporter.pipeline import ExportResult, make_releases
from exporter.planning.plan import Plan
from exporter.planning.recipe import QualityLimit, Recipe, load_recipe
from exporter.planning.variants import Variant
from exporter.progress import Progress
from exporter.workshop import store_name, workshop
from runtimes.formats import Format
from runtimes.manifest import Artifact, read_manifest
from tests.jobs import a_job, a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3

TOKENS = 60
ANYTHING = QualityLimit(
    mean_kl=100.0, top1=0.0, reason="what int8 costs random weights is not the question"
)


class CountingLowering:
    """Lowers as another does, and counts."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering, self.lowered = lowering, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.lowering, name)

    def lower(self, order: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        self.lowered += 1
        return self.lowering.lower(order, out, progress)


def patient(name: str) -> Recipe:
    return replace(load_recipe(name), quantisation=ANYTHING, end_to_end={})


def variant(recipe: str, formats: tuple[Format, ...], context: int) -> Variant:
    return a_variant(patient(recipe), formats, context)


def a_job_of(work: Path, *variants: Variant) -> tuple[Job, Mapping[str, CountingLowering]]:
    source = RandomSource(tiny_gemma3())
    plans = tuple(a_plan(source, each) for each in variants)
    formats = dict.fromkeys(format for each in variants for format in each.formats)
    counting = {name: CountingLowering(each) for name, each in lowerings_for(formats).items()}
    return a_job(source, plans, counting, work, TOKENS), counting  # type: ignore[arg-type]  # by delegation


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kind of work was finished."""
    return Counter()


def count(told: Counter[str], job: Job) -> Job:
    def progress(what: str, done: int, total: int) -> None:
        told[what] += done == total

    return replace(job, progress=progress)


def releases(
    tmp_path: Path, job: Job, told: Counter[str], names: tuple[str, ...]
) -> tuple[ExportResult, ...]:
    return make_releases(count(told, job), [tmp_path / name for name in names], force=False)


def times(told: Counter[str], work: str) -> int:
    """How often it was done, whatever for."""
    return sum(count for what, count in told.items() if what.startswith(work))


def test_what_two_variants_share_is_made_once(tmp_path: Path, told: Counter[str]) -> None:
    job, counting = a_job_of(
        tmp_path / "work", variant("int8", ("onnx",), 64), variant("int8", ("onnx", "tflite"), 64)
    )
    first, second = releases(tmp_path, job, told, ("one", "two"))
    assert (first.published, second.published) == (True, True), second.report.gates
    assert {name: each.lowered for name, each in counting.items()} == {"onnx": 1, "litert": 1}
    assert times(told, "transformers, original checkpoint: layers") == 3, "the text, greedy tokens twice"
    assert times(told, "transformers, quantised checkpoint: layers") == 2, "the text, special tokens"
    assert times(told, "measure activations") == 1
    assert told["transformers, original checkpoint: layers (evaluation text)"] == 1
    assert told["transformers, quantised checkpoint: layers (special tokens)"] == 1
    for path in ("onnx/model.onnx", "onnx/model.onnx.data"):
        one, two = tmp_path / "one" / path, tmp_path / "two" / path
        assert one.stat().st_ino == two.stat().st_ino, "written once"
    assert [each.format for each in read_manifest(tmp_path / "two").artifacts] == ["onnx", "tflite"]


def test_what_differs_is_made_again(tmp_path: Path, told: Counter[str]) -> None:
    job, counting = a_job_of(
        tmp_path / "work",
        variant("int8", ("onnx",), 64),
        variant("int8", ("onnx",), 48),
        variant("float", ("onnx",), 64),
    )
    done = releases(tmp_path, job, told, ("one", "short", "float"))
    assert all(each.published for each in done)
    assert counting["onnx"].lowered == 3
    assert times(told, "transformers, quantised checkpoint: layers") == 4, "of each of two checkpoints"
    assert told["transformers, quantised checkpoint: layers (evaluation text, float)"] == 1
    texts = [each.report.text_tokens for each in done]
    assert texts == [TOKENS, 49, TOKENS], "the short one compares the beginning of what the others do"
    kl = [each.report.comparisons[0].statistics.mean_kl for each in done]
    assert kl[0] != kl[1]


def test_a_variant_held_back_hands_its_artifacts_on(tmp_path: Path, told: Counter[str]) -> None:
    strict = replace(patient("int8"), quantisation=QualityLimit(1e-12, 1.0, "nobody can"))
    job, counting = a_job_of(
        tmp_path / "work", a_variant(strict, ("onnx",)), variant("int8", ("onnx",), 64)
    )
    failing, passing = releases(tmp_path, job, told, ("strict", "patient"))
    assert (failing.published, passing.published) == (False, True)
    assert counting["onnx"].lowered == 1


def test_a_job_leaves_nothing_but_its_stores_in_its_directory(tmp_path: Path, told: Counter[str]) -> None:
    job, _ = a_job_of(tmp_path / "work", variant("int8", ("onnx",), 64))
    releases(tmp_path, job, told, ("one",))
    assert [each.name for each in job.work.iterdir()] == [store_name(job.plans[0])]


def test_stores_are_told_apart_by_what_decides_them() -> None:
    source = RandomSource(tiny_gemma3())

    def name(recipe: Recipe, formats: tuple[Format, ...] = ("onnx",), context: int = 64) -> str:
        plan: Plan = a_plan(source, a_variant(recipe, formats, context))
        return store_name(plan)

    int8 = load_recipe("int8")
    assert name(int8) == name(int8, ("tflite", "coreml"), 128)
    assert name(int8) != name(load_recipe("int4"))
    assert name(int8) != name(replace(int8, equalization=None, text=int8.text + "# another"))


def test_links_that_cannot_be_made_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("exporter.workshop.os.link", refused)
    job, counting = a_job_of(tmp_path / "work", *[variant("int8", ("onnx",), 64)] * 2)
    with workshop(job) as shop:
        made = []
        for name in ("one", "two"):
            with staged_release(tmp_path / name, force=False) as staging:
                job.source.write_tokenizer(staging.directory)
                shop.lower(job.plans[0], staging, job.progress)
            made.append((tmp_path / name / "onnx" / "model.onnx.data").read_bytes())
    assert counting["onnx"].lowered == 1
    assert made[0] == made[1]


def test_the_pipeline_is_short_enough_to_be_read_aloud() -> None:
    lines = Path(pipeline.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
