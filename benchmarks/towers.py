"""Towers and what takes their rows, format by format, held against transformers; time and memory.

For each checkpoint: quantise (nearest codes, whatever the recipe's method), and for each format write the
artifacts, make rows of one sample, and try every gate (`exporter.validation.tower_check`); each step in a
process of its own, whose peaks are the kernel's. Without CHECKPOINT: tiny models of every kind; a directory
as the Hub has it may be of random weights in true shapes. With --rows-alone no gate is tried: transformers'
towers make rows of that one sample instead, and no decoder runs. Exits with 1 where a gate fails. Run as
`benchmarks.images` and `benchmarks.sounds`. Not about what is done to a sample before, nor about devices
and GPUs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from benchmarks.measured_process import GIB, measure
from runtimes.formats import Format
from runtimes.images.picture import read_picture
from runtimes.images.prepared import PreparedImage
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import PROCESSING_NAME, read_processing
from runtimes.manifest import Artifact, EncoderArtifact, TowerName
from runtimes.open import IMAGE_ENCODERS, SOUND_ENCODERS, open_image_encoder, open_sound_encoder
from runtimes.opening import EncoderOpening
from runtimes.records import from_plain, to_plain
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.preparing import prepared_sound
from runtimes.sounds.processing import SOUND_PROCESSING_NAME, read_sound_processing

if TYPE_CHECKING:  # what runs a tower has none of it
    from exporter.checkpoints.interface import CheckpointSource
    from exporter.planning.plan import Plan

Kind = Literal["images", "sounds"]
TOWERS: dict[Kind, TowerName] = {"images": "vision", "sounds": "audio"}
RUNNABLE, ROWS = "runnable.json", "{}-rows.npy"
REFERENCES = ("original", "quantised")
PICTURE = Path(__file__).parent.parent / "samples" / "images" / "digits.png"
HEAD = (
    "| model | format | rows of quantised tower: mean error | cosine | rows of artifact: mean error "
    "| cosine | KL behind samples, largest | of text alone | rows of nothing | gates |\n"
    + "|---" * 10
    + "|"
)
COSTS = "| model | format | step | wall, s | CPU, s | anonymous, GiB | total, GiB |\n" + "|---" * 7 + "|"


def planned(asked: argparse.Namespace, model: Path) -> tuple[CheckpointSource, Plan]:
    from benchmarks.one_variant import plan_for
    from exporter.checkpoints.open import open_checkpoint
    from exporter.planning.plan import make_plan

    source = open_checkpoint(str(model), None, ("text", TOWERS[asked.of]))
    assert TOWERS[asked.of] in source.components, f"{model} takes no {asked.of}"
    plan = plan_for(source, asked.recipe, (asked.format,), asked.context)
    if source.images is None:
        return source, plan
    variant = replace(plan.variant, soft_tokens=asked.image_tokens or source.images.soft_tokens)
    return source, make_plan(source.components, variant, source.held)


def quantise(asked: argparse.Namespace) -> None:
    from benchmarks.one_variant import nothing
    from exporter.quantization.quantize import write_quantized

    source, plan = planned(asked, asked.model)
    write_quantized(source, plan.schemes, asked.place / "store", nothing)


def lower(asked: argparse.Namespace) -> None:
    """One format's artifacts, and what is done to a sample, below `place / format`."""
    from benchmarks.one_variant import job_for, nothing
    from exporter.quantization.store.checkpoint import open_quantized
    from exporter.workshop import lowering_order

    source, plan = planned(asked, asked.model)
    release = asked.place / asked.format
    release.mkdir()
    source.write_tokenizer(release)
    job, store = job_for(source, plan, asked.place), open_quantized(asked.place / "store")
    order = lowering_order(job, plan, store, release)
    (lowering,) = job.lowerings.values()
    artifacts = lowering.lower(order, release, nothing)
    if order.images is not None:
        said = order.images.processing.to_json()
        (release / PROCESSING_NAME).write_text(said, encoding="utf-8")
    if order.sounds is not None:
        said = order.sounds.processing.to_json()
        (release / SOUND_PROCESSING_NAME).write_text(said, encoding="utf-8")
    encoders = lowering.encoders(order)
    found = {
        "artifacts": [to_plain(each) for each in artifacts],
        "encoders": [to_plain(each) for each in encoders],
    }
    (asked.place / f"{asked.format}-{RUNNABLE}").write_text(json.dumps(found), encoding="utf-8")


def takes(place: Path, format: str) -> bool:
    """Whether the format has this tower of the model."""
    return bool(json.loads((place / f"{format}-{RUNNABLE}").read_text(encoding="utf-8"))["encoders"])


def written(asked: argparse.Namespace) -> tuple[Artifact, EncoderArtifact]:
    raw = json.loads((asked.place / f"{asked.format}-{RUNNABLE}").read_text(encoding="utf-8"))
    return from_plain(Artifact, raw["artifacts"][0]), from_plain(EncoderArtifact, raw["encoders"][0])


def sample(asked: argparse.Namespace) -> PreparedImage | PreparedSound:
    """The one that the tower alone is run on."""
    release = asked.place / asked.format
    if asked.of == "images":
        return prepared_image(read_picture(PICTURE).pixels, read_processing(release))
    from exporter.validation.sound_samples import chirp

    return prepared_sound(chirp(), read_sound_processing(release))


def encode(asked: argparse.Namespace) -> None:
    """The tower alone, on one sample, with numpy and one runtime; keeps its rows."""
    artifact, encoder = written(asked)
    opening = EncoderOpening(asked.place / asked.format, encoder, artifact, 2, "fp32")
    match sample(asked):
        case PreparedImage() as image:
            with open_image_encoder(opening) as tower:
                rows = tower.rows(image)
        case PreparedSound() as sound:
            with open_sound_encoder(opening) as listener:
                rows = listener.rows(sound)
    np.save(asked.place / ROWS.format(asked.format), rows)


def reference(asked: argparse.Namespace) -> None:
    """transformers' rows of the same sample, from the original weights and from the quantised ones."""
    from exporter.quantization.store.checkpoint import open_quantized
    from exporter.quantization.store.unpacked_weights import UnpackedWeights
    from exporter.reference.reference_tower import ReferenceTower
    from exporter.reference.weights import OriginalWeights, ReferenceWeights

    source, _ = planned(asked, asked.model)
    store, given = open_quantized(asked.place / "store"), sample(asked)
    spec = store.components[TOWERS[asked.of]].spec
    both: tuple[ReferenceWeights, ...] = (OriginalWeights(source), UnpackedWeights(store))
    for name, weights in zip(REFERENCES, both, strict=True):
        np.save(asked.place / ROWS.format(name), ReferenceTower(weights, spec).rows(given))


def validate(asked: argparse.Namespace) -> None:
    """Every gate; prints what was found as JSON."""
    from benchmarks.one_variant import job_for
    from exporter.formats.table import paths_not_asked_for
    from exporter.quantization.store.checkpoint import open_quantized
    from exporter.validation.findings import Findings, ReleaseUnderTest
    from exporter.validation.modality import MODALITIES
    from exporter.validation.placed_prompts import ALONE
    from exporter.validation.tower_check import check_towers

    (modality,) = (each for each in MODALITIES if each.kind == asked.of)
    source, plan = planned(asked, asked.model)
    artifact, encoder = written(asked)
    release = ReleaseUnderTest(
        asked.place / asked.format,
        (artifact,),
        plan,
        open_quantized(asked.place / "store"),
        encoders=(encoder,),
        paths=paths_not_asked_for,
    )
    findings = Findings()
    with tempfile.TemporaryDirectory(dir=asked.place) as scratch:
        check_towers(modality, job_for(source, plan, asked.place), release, Path(scratch), findings)
    print(
        json.dumps(
            {
                "runs": [to_plain(each) for each in findings.towers[asked.of].runs],
                "senseless": modality.senseless_kl,
                "alone": ALONE.format(modality.sample),
                "gates": [to_plain(each) for each in findings.gates],
                "comparisons": [
                    (each.reference, each.route, each.statistics.mean_kl) for each in findings.comparisons
                ],
                "not_checked": findings.not_checked,
            }
        )
    )


def row(name: str, format: str, found: dict[str, Any]) -> str:
    """Of one format of one model, in HEAD's columns."""
    quantised, *own = (run["samples"] for run in found["runs"])
    samples, alone = [sample for run in own for sample in run], found["alone"]
    behind = [(route, kl) for reference, route, kl in found["comparisons"] if "quantised" in reference]
    nothing = [
        gate["verdict"]["measured"] for gate in found["gates"] if gate["statistic"] == found["senseless"]
    ]
    failed = sum(gate["verdict"]["is"] != "passed" for gate in found["gates"])
    figures = (
        *worst(quantised),
        *worst(samples),
        f"{max((kl for route, kl in behind if route != alone), default=math.nan):.2g}",
        f"{max((kl for route, kl in behind if route == alone), default=math.nan):.2g}",
        f"{min(nothing, default=math.nan):.2g}",
        f"{len(found['gates']) - failed} of {len(found['gates'])}",
    )
    return f"| {name} | {format} | {' | '.join(figures)} |"


def rows_row(name: str, format: str, place: Path) -> str:
    """Of one format of one model whose rows alone were made, in HEAD's columns."""
    from exporter.validation.rows_apart import rows_apart

    original, quantised, own = (np.load(place / ROWS.format(each)) for each in (*REFERENCES, format))
    apart = (rows_apart(original, quantised), rows_apart(quantised, own))
    figures = " | ".join(f"{each.relative:.2g} | {each.cosine:.6f}" for each in apart)
    return f"| {name} | {format} | {figures} | – | – | – | none tried |"


def worst(samples: list[dict[str, Any]]) -> tuple[str, str]:
    relative = max((each["relative"] for each in samples), default=math.nan)
    cosine = min((each["cosine"] for each in samples), default=math.nan)
    return f"{relative:.2g}", f"{cosine:.6f}"


def models(asked: argparse.Namespace, work: Path) -> Iterator[tuple[str, Path]]:
    if asked.checkpoints:
        yield from ((path.name, path) for path in asked.checkpoints)
        return
    from tests.tiny_encoders import TINY_ENCODERS
    from tests.tiny_image_stores import KINDS, write_tiny_multimodal

    for kind in KINDS if asked.of == "images" else TINY_ENCODERS:
        encoder = TINY_ENCODERS[kind]() if asked.of == "sounds" else None
        place = work / kind.replace(" ", "-")
        yield f"tiny {kind}", write_tiny_multimodal(place, kind, encoder=encoder)


def step(name: str, asked: argparse.Namespace, model: Path, place: Path, format: str) -> tuple[str, str]:
    """Costs in COSTS' last columns, and what the process printed."""
    command = [sys.executable, "-m", f"benchmarks.{asked.of}", "--step", name, "--model", str(model)]
    command += ["--place", str(place), "--format", format, "--recipe", asked.recipe]
    command += ["--context", str(asked.context)]
    if asked.image_tokens:
        command += ["--image-tokens", str(asked.image_tokens)]
    done = measure(command)
    anonymous, total = done.peak_anonymous / GIB, done.peak_total / GIB
    return f"{done.wall:.1f} | {done.cpu:.1f} | {anonymous:.2f} | {total:.2f}", done.output


def run(asked: argparse.Namespace) -> int:
    rows: list[str] = []
    costs: list[str] = []
    failed = False
    with tempfile.TemporaryDirectory(dir=asked.work) as scratch:
        for name, model in models(asked, Path(scratch)):
            place = Path(scratch, f"work-{len(rows)}")
            place.mkdir()
            cost, _ = step("quantise", asked, model, place, asked.formats[0])
            costs.append(f"| {name} | – | quantise | {cost} |")
            for format in asked.formats:
                kept = (place / ROWS.format(REFERENCES[0])).exists()
                last = () if kept else ("reference",) if asked.rows_alone else ("validate",)
                for each in ("lower", "encode", *last):
                    if each != "lower" and not takes(place, format):
                        break
                    cost, printed = step(each, asked, model, place, format)
                    costs.append(f"| {name} | {format} | {each} | {cost} |")
                else:
                    if asked.rows_alone:
                        rows.append(rows_row(name, format, place))
                        continue
                    found = json.loads(printed.splitlines()[-1])
                    rows.append(row(name, format, found))
                    failed |= any(gate["verdict"]["is"] == "failed" for gate in found["gates"])
                    print(rows[-1], *found["not_checked"], sep="\n  ", flush=True)
    print("", HEAD, *rows, "", COSTS, *costs, sep="\n")
    if asked.of == "images" and "onnx" in asked.formats and not asked.checkpoints:
        print_pixel_differences()
    return int(failed)


def print_pixel_differences() -> None:
    from benchmarks.pixel_difference import HEAD as COLUMNS
    from benchmarks.pixel_difference import differences

    with tempfile.TemporaryDirectory() as scratch:
        print("", "pixel difference of onnxruntime-genai from transformers", sep="\n")
        print(COLUMNS, *differences(Path(scratch)), sep="\n")


STEPS = {
    "quantise": quantise,
    "lower": lower,
    "encode": encode,
    "reference": reference,
    "validate": validate,
}


def main(of: Kind) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoints", nargs="*", type=Path)
    runnable = IMAGE_ENCODERS if of == "images" else SOUND_ENCODERS
    parser.add_argument("--formats", nargs="+", choices=get_args(Format), default=sorted(runnable))
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--recipe", default="int8")
    parser.add_argument("--rows-alone", action="store_true")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--format", help=argparse.SUPPRESS)
    if of == "images":
        parser.add_argument("--image-tokens", type=int)
    parser.set_defaults(of=of, image_tokens=None)
    asked = parser.parse_args()
    if asked.step is not None:
        STEPS[asked.step](asked)
        return 0
    return run(asked)
