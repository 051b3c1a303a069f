"""Facts from up to 2,000 tokens back: does each path find them as transformers does?

    python -m benchmarks.copying RELEASE [--model REF] [--path NAME ...] [--longest TOKENS]

What every validation asks (`exporter.validation.copying`), without its limit of time and without the rest
of a validation: on the CPU from every distance, on each path from the furthest one. Printed are tokens of
the true answers; how many of them transformers on the original checkpoint chooses itself; and for how many
the artifact chooses what transformers does, true or not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.one_variant import nothing
from exporter.checkpoints.open import open_source
from exporter.formats.execution_path import PathOrder
from exporter.formats.table import drivers_of, paths_of
from exporter.reference.copy_text import DISTANCES, CopyText, copying_text
from exporter.reference.leads import Decisions
from exporter.reference.streamed import reference_decisions
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights
from exporter.validation.copying import NO_TOKEN, Choices, answers_of, chosen
from runtimes.errors import RuntimesError
from runtimes.manifest import Artifact, read_manifest

SECONDS_LIMITS = 4  # times what a path takes at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--path", nargs="*", help="only these; default: all that are here")
    parser.add_argument("--longest", type=int, default=DISTANCES[-1], help="tokens back, for slow paths")
    options = parser.parse_args()
    source = open_source(options.model)
    whole = copying_text(Texts.of(source), [each for each in DISTANCES if each <= options.longest])
    for artifact in read_manifest(options.release).artifacts:
        if (text := whole.within(artifact.context)) is None:
            print(f"{artifact.path}: a context of {artifact.context} holds no question")
            continue
        print(f"{artifact.path}: {len(text.tokens)} tokens", flush=True)
        expected = reference_decisions(OriginalWeights(source), text.tokens, text.positions, nothing)
        for name, asked, found in answers(options.release, artifact, text, options.path):
            print_rows(name, text, expected, asked, found)


def answers(
    release: Path, artifact: Artifact, text: CopyText, only: list[str] | None
) -> Iterator[tuple[str, NDArray[np.bool_], Choices]]:
    """Who answered, which of the text's positions it was asked for, and its choices there."""
    for driver in drivers_of(artifact.format):
        with driver.open(release, artifact) as session:
            found = answers_of(session, text, lambda done: None)
        yield f"CPU, {driver.arithmetic}", np.ones(len(found), bool), found
    *_, furthest = text.stretches()
    asked = text.of(furthest.distance)
    for path in paths_of(artifact.format):
        if only is not None and path.name not in only:
            continue
        if (reason := path.missing()) is not None:
            print(f"  {path.title}: not executed, because {reason}")
            continue
        with tempfile.TemporaryDirectory(prefix="copying-") as scratch:
            tokens, seconds = text.tokens[: furthest.end], SECONDS_LIMITS * path.seconds
            order = PathOrder(release, artifact, tokens, furthest.first, Path(scratch), seconds)
            try:
                logits = path.run(order).logits
            except RuntimesError as error:
                print(f"  {path.title}: {error}")
                continue
        rows = text.positions[asked] - furthest.first
        yield path.name, asked, np.array([chosen(logits[row]) for row in rows])


def print_rows(
    name: str, text: CopyText, expected: Decisions, asked: NDArray[np.bool_], found: Choices
) -> None:
    """One line for each distance."""
    whole = np.full(len(asked), NO_TOKEN)
    whole[asked] = found
    for distance in text.distances:
        here = text.of(distance) & asked
        if here.any():
            known = (expected.choices == text.true)[here].sum()
            print(
                f"  {name:24} {distance:5} tokens back: {here.sum()} tokens, the original knows {known}, "
                f"as the original {(whole == expected.choices)[here].sum()}",
                flush=True,
            )


if __name__ == "__main__":
    main()
