"""What each matrix costs in few bits, and what a mixed recipe makes of it: predicted, and as it comes out.

    python -m benchmarks.sensitivity [--model REF] [--budget 246MB] [--format onnx] [--accelerator GPU]
                                     [--kept DIR] [--check] [--write FILE]

Prints the KL every matrix costs alone in each scheme its formats carry, by kind and one by one, and the
recipe within the budget. --check: quantises by that recipe and measures mean KL and top-1 of transformers
on samples/evaluation, beside the sum that was predicted. --kept: a directory for what was measured and
quantised; the same command goes on from there. --write: the recipe, for `quality --recipe FILE`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.one_variant import nothing
from exporter.checkpoints.open import open_source
from exporter.job import Job
from exporter.planning.mixed_recipe import Losses, mixed_recipe
from exporter.planning.plan import Plan, make_plan
from exporter.planning.recipe import load_recipe
from exporter.planning.variants import Variant
from exporter.quantization.sensitivity import measure_losses
from exporter.reference.texts import Texts
from exporter.scheme_choice import recipe_of, require_choice, sensitivity_order, weights_of
from exporter.stopwatch import Stopwatch
from exporter.validation.baselines import compare_files
from exporter.workshop import workshop
from runtimes.formats import FORMATS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--budget", default="246MB")
    parser.add_argument("--format", choices=FORMATS, default="onnx")
    parser.add_argument("--accelerator", default="CPU")
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    source = open_source(options.model)
    variant = Variant(
        "benchmark",
        load_recipe(f"mixed:{options.budget}"),
        2048,
        (options.format,),
        devices=(),
        accelerators={options.format: options.accelerator},
    )
    require_choice(source, variant)
    plan = make_plan(source.components, variant, source.held)
    with ExitStack() as stack:
        work = options.kept or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(exist_ok=True)
        stopwatch = Stopwatch()
        job = Job(source, (plan,), {}, Texts.of(source), work, nothing, stopwatch)
        with stopwatch.step("measure sensitivities"):
            losses = measure_losses(sensitivity_order(job, plan), nothing)
        recipe = mixed_recipe(recipe_of(source, variant), weights_of(source), losses)
        print_losses(losses)
        print(recipe.text)
        if options.write is not None:
            options.write.write_text(recipe.text, encoding="utf-8")
        if options.check:
            made = make_plan(source.components, replace(variant, recipe=recipe), source.held)
            check(job, made, losses)
        for timing in stopwatch.timings():
            print(f"{timing.step}: {timing.seconds:.0f} s")


def print_losses(losses: Losses) -> None:
    """Sums by kind of matrix, then every one."""
    kinds: dict[str, list[dict[str, float]]] = defaultdict(list)
    for name, by_scheme in losses.items():
        kinds[name.removesuffix(".weight").rsplit(".", 1)[-1]].append(dict(by_scheme))
    for kind, every in kinds.items():
        sums = {scheme: sum(each.get(scheme, 0.0) for each in every) for scheme in every[0]}
        print(f"{len(every):4} {kind:24}", *(f"{scheme} {loss:.5f}" for scheme, loss in sums.items()))
    for name, by_scheme in losses.items():
        print(f"     {name:48}", *(f"{scheme} {loss:.2e}" for scheme, loss in by_scheme.items()))


def check(job: Job, plan: Plan, losses: Losses) -> None:
    """What the recipe's own store measures, beside what was predicted."""
    predicted = sum(losses[name][scheme.name] for name, scheme in plan.schemes.items())
    with workshop(replace(job, plans=(plan,))) as shop:
        store = shop.store(plan)
        files = shop.baselines.original(), shop.baselines.quantised(store)
        found = compare_files(*files, job.longest_evaluation.tokens, nothing).statistics()
    print(f"{plan.weight_bytes:,} bytes, {plan.scheme_counts()}")
    print(f"KL predicted {predicted:.4f}, measured {found.mean_kl:.4f}; top-1 {found.top1:.1%}", flush=True)


if __name__ == "__main__":
    main()
