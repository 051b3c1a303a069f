"""Image towers and what takes their rows, format by format, held against transformers; time and memory.

    python -m benchmarks.images [CHECKPOINT ...] [--formats onnx litertlm coreml] [--context 512]
                                [--image-tokens N] [--recipe int8] [--work DIR]

For each checkpoint: quantise (nearest codes, whatever the recipe's method), and for each format write the
artifacts, run the tower on a picture, and try every image gate (`exporter.validation.image_check`); each
step in a process of its own, whose peaks are the kernel's. Without CHECKPOINT: tiny models of all four
kinds, and behind them how far onnxruntime-genai's pixels are from transformers' (`pixel_difference`); a
directory as the Hub has it may be of random weights in true shapes. Exits with 1 where a gate fails. Not
about devices, nor about GPUs.
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
from typing import TYPE_CHECKING, Any, get_args

from benchmarks.measured_process import GIB, measure
from runtimes.formats import Format
from runtimes.images.picture import read_picture
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import PROCESSING_NAME, read_processing
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.open import IMAGE_SESSIONS, open_image_encoder
from runtimes.opening import ImageOpening
from runtimes.records import from_plain, to_plain

if TYPE_CHECKING:  # what runs a tower has none of it
    from exporter.checkpoints.interface import CheckpointSource
    from exporter.planning.plan import Plan

RUNNABLE = "runnable.json"
PICTURE = Path(__file__).parent.parent / "samples" / "images" / "digits.png"
HEAD = (
    "| model | format | rows of quantised tower: mean error | cosine | rows of artifact: mean error "
    "| cosine | KL behind pictures, largest | of text alone | blind | gates |\n" + "|---" * 10 + "|"
)
COSTS = "| model | format | step | wall, s | CPU, s | anonymous, GiB | total, GiB |\n" + "|---" * 7 + "|"


def planned(asked: argparse.Namespace, model: Path) -> tuple[CheckpointSource, Plan]:
    from benchmarks.one_variant import plan_for
    from exporter.checkpoints.open import open_checkpoint
    from exporter.planning.plan import make_plan

    source = open_checkpoint(str(model), None)
    plan = plan_for(source, asked.recipe, (asked.format,), asked.context)
    assert source.images is not None, f"{model} has no image tower"
    variant = replace(plan.variant, soft_tokens=asked.image_tokens or source.images.soft_tokens)
    return source, make_plan(source.components, variant, source.held)


def quantise(asked: argparse.Namespace) -> None:
    from benchmarks.one_variant import nothing
    from exporter.quantization.quantize import write_quantized

    source, plan = planned(asked, asked.model)
    write_quantized(source, plan.schemes, asked.place / "store", nothing)


def lower(asked: argparse.Namespace) -> None:
    """One format's artifacts, and what is done to a picture, below `place / format`."""
    from benchmarks.one_variant import job_for, nothing
    from exporter.quantization.store.checkpoint import open_quantized
    from exporter.workshop import image_order, lowering_order

    source, plan = planned(asked, asked.model)
    release = asked.place / asked.format
    release.mkdir()
    source.write_tokenizer(release)
    job, store = job_for(source, plan, asked.place), open_quantized(asked.place / "store")
    order = lowering_order(job, plan, store, release)
    (lowering,) = job.lowerings.values()
    artifacts = lowering.lower(order, release, nothing)
    images = image_order(source, plan)
    assert images is not None
    (release / PROCESSING_NAME).write_text(images.processing.to_json(), encoding="utf-8")
    encoders = lowering.encoders(order)
    found = {
        "artifacts": [to_plain(each) for each in artifacts],
        "encoders": [to_plain(each) for each in encoders],
    }
    (asked.place / f"{asked.format}-{RUNNABLE}").write_text(json.dumps(found), encoding="utf-8")


def written(asked: argparse.Namespace) -> tuple[Artifact, EncoderArtifact]:
    raw = json.loads((asked.place / f"{asked.format}-{RUNNABLE}").read_text(encoding="utf-8"))
    return from_plain(Artifact, raw["artifacts"][0]), from_plain(EncoderArtifact, raw["encoders"][0])


def encode(asked: argparse.Namespace) -> None:
    """The tower alone, on one picture, with numpy and one runtime."""
    artifact, encoder = written(asked)
    release = asked.place / asked.format
    image = prepared_image(read_picture(PICTURE).pixels, read_processing(release))
    with open_image_encoder(ImageOpening(release, encoder, artifact, 2, "fp32")) as tower:
        tower.rows(image)


def validate(asked: argparse.Namespace) -> None:
    """Every image gate; prints what was found as JSON."""
    from benchmarks.one_variant import job_for
    from exporter.formats.table import paths_not_asked_for
    from exporter.quantization.store.checkpoint import open_quantized
    from exporter.validation.findings import Findings, ReleaseUnderTest
    from exporter.validation.image_check import check_images

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
        check_images(job_for(source, plan, asked.place), release, Path(scratch), findings)
    print(
        json.dumps(
            {
                "runs": [to_plain(each) for each in findings.images.runs] if findings.images else [],
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
    from exporter.validation.image_check import BLIND_KL
    from exporter.validation.image_prompts import ALONE

    quantised, *own = (run["pictures"] for run in found["runs"])
    pictures = [picture for run in own for picture in run]
    behind = [(route, kl) for reference, route, kl in found["comparisons"] if "quantised" in reference]
    blind = [gate["verdict"]["measured"] for gate in found["gates"] if gate["statistic"] == BLIND_KL]
    failed = sum(gate["verdict"]["is"] != "passed" for gate in found["gates"])
    figures = (
        *worst(quantised),
        *worst(pictures),
        f"{max((kl for route, kl in behind if route != ALONE), default=math.nan):.2g}",
        f"{max((kl for route, kl in behind if route == ALONE), default=math.nan):.2g}",
        f"{min(blind, default=math.nan):.2g}",
        f"{len(found['gates']) - failed} of {len(found['gates'])}",
    )
    return f"| {name} | {format} | {' | '.join(figures)} |"


def worst(pictures: list[dict[str, Any]]) -> tuple[str, str]:
    relative = max((each["relative"] for each in pictures), default=math.nan)
    cosine = min((each["cosine"] for each in pictures), default=math.nan)
    return f"{relative:.2g}", f"{cosine:.6f}"


def models(asked: argparse.Namespace, work: Path) -> Iterator[tuple[str, Path]]:
    if asked.checkpoints:
        yield from ((path.name, path) for path in asked.checkpoints)
        return
    from tests.tiny_image_stores import KINDS, write_tiny_multimodal

    for kind in KINDS:
        yield f"tiny {kind}", write_tiny_multimodal(work / kind.replace(" ", "-"), kind)


def step(name: str, asked: argparse.Namespace, model: Path, place: Path, format: str) -> tuple[str, str]:
    """Costs in COSTS' last columns, and what the process printed."""
    command = [sys.executable, "-m", "benchmarks.images", "--step", name, "--model", str(model)]
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
                for each in ("lower", "encode", "validate"):
                    cost, printed = step(each, asked, model, place, format)
                    costs.append(f"| {name} | {format} | {each} | {cost} |")
                found = json.loads(printed.splitlines()[-1])
                rows.append(row(name, format, found))
                failed |= any(gate["verdict"]["is"] == "failed" for gate in found["gates"])
                print(rows[-1], *found["not_checked"], sep="\n  ", flush=True)
    print("", HEAD, *rows, "", COSTS, *costs, sep="\n")
    if "onnx" in asked.formats and not asked.checkpoints:
        print_pixel_differences()
    return int(failed)


def print_pixel_differences() -> None:
    from benchmarks.pixel_difference import HEAD as COLUMNS
    from benchmarks.pixel_difference import differences

    with tempfile.TemporaryDirectory() as scratch:
        print("", "pixel difference of onnxruntime-genai from transformers", sep="\n")
        print(COLUMNS, *differences(Path(scratch)), sep="\n")


STEPS = {"quantise": quantise, "lower": lower, "encode": encode, "validate": validate}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--formats", nargs="+", choices=get_args(Format), default=sorted(IMAGE_SESSIONS))
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--image-tokens", type=int)
    parser.add_argument("--recipe", default="int8")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--format", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step is not None:
        STEPS[asked.step](asked)
        return 0
    return run(asked)


if __name__ == "__main__":
    sys.exit(main())
