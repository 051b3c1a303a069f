"""Digits and names from 200 to 2,000 tokens back: does a path find there what the reference finds?

    python -m benchmarks.copying RELEASE [--model REF] [--path NAME ...] [--longest TOKENS]

Facts ("The code of Marta Delgado is 48213.") stand in the evaluation text at growing distances before its
end, where each is asked for again. Every token of the true answers is given, so that one pass answers for
all. Counted are tokens for which transformers on the original checkpoint would have chosen the true one,
and those for which the artifact, on the CPU and on each path, chooses what transformers chooses.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.one_variant import nothing
from exporter.checkpoints.open import open_source
from exporter.formats.execution_path import PathOrder
from exporter.formats.table import drivers_of, paths_of
from exporter.reference.streamed import reference_choices
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights
from runtimes.errors import RuntimesError
from runtimes.manifest import Artifact, read_manifest
from runtimes.session import Tokens

DISTANCES = (2000, 1500, 1000, 500, 200)  # tokens from a fact to the question, about
BEFORE = 32  # tokens of text before the first fact
FACTS = {
    "code": (("Marta Delgado", "48213"), ("Ivo Brandt", "90577"), ("Aiko Mori", "16604"),
             ("Leo Ruiz", "73129"), ("Nina Okafor", "35882")),
    "deputy": (("Berlin", "Selma Aydin"), ("Lisbon", "Tomas Keller"), ("Oslo", "Grace Mbeki"),
               ("Kyoto", "Hugo Lindqvist"), ("Quito", "Petra Novak")),
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """Tokens begin to end of the text are a true answer."""

    kind: str
    distance: int
    begin: int
    end: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--path", nargs="*", help="only these; default: all that are here")
    parser.add_argument("--longest", type=int, default=DISTANCES[0], help="tokens back, for slow paths")
    options = parser.parse_args()
    source = open_source(options.model)
    for artifact in read_manifest(options.release).artifacts:
        tokens, answers = written(Texts.of(source), artifact.context, options.longest)
        first = answers[0].begin - 1
        expected = reference_choices(OriginalWeights(source), tokens[None], nothing)[0]
        print(f"{artifact.path}: {len(tokens)} tokens, answers from token {first + 1} on", flush=True)
        for name, chosen in choices(options.release, artifact, tokens, first, options.path):
            for answer in answers:
                at = slice(answer.begin - 1, answer.end - 1)
                wanted, true = expected[at], tokens[answer.begin : answer.end]
                found = chosen[answer.begin - 1 - first : answer.end - 1 - first]
                print(
                    f"  {name:24} {answer.kind:6} {answer.distance:5} tokens back: the reference has "
                    f"{(wanted == true).sum()} of {len(true)}, same as it {(found == wanted).sum()}",
                    flush=True,
                )


def written(texts: Texts, context: int, longest: int) -> tuple[Tokens, list[Answer]]:
    """The text, no longer than it must be for facts `longest` tokens back, and where its answers are."""

    def ids(text: str) -> list[int]:
        found: list[int] = texts.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    filler = [int(token) for token in texts.evaluation.tokens[1:]] * 3
    asked = [
        (kind, distance, ids(f"\nThe {kind} of {name} is"), ids(f" {value}"), ids("."))
        for kind, facts in FACTS.items()
        for distance, (name, value) in zip(DISTANCES, facts, strict=True)
        if distance <= longest
    ]
    questions = sum(len(question) + len(value) + len(stop) for *_, question, value, stop in asked)
    room = min(context - questions - 1, longest + BEFORE)
    tokens = [texts.bos_token]
    for distance in DISTANCES:
        until = max(len(tokens), room - distance)
        tokens += filler[len(tokens) : until]
        for _, _, question, value, stop in (each for each in asked if each[1] == distance):
            tokens += [*question, *value, *stop]
    tokens += filler[len(tokens) : room]
    answers = []
    for kind, distance, question, value, stop in asked:
        tokens += question
        answers.append(Answer(kind, distance, len(tokens), len(tokens) + len(value)))
        tokens += [*value, *stop]
    return np.array(tokens, np.int32), answers


def choices(
    release: Path, artifact: Artifact, tokens: Tokens, first: int, only: list[str] | None
) -> Iterator[tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]]:
    """What the artifact would choose behind each token from `first` on, by who computes it."""
    for driver in drivers_of(artifact.format):
        with driver.open(release, artifact) as session:
            session.prefill(tokens[:first])
            found = [int(session.decode(int(token)).argmax()) for token in tokens[first:]]
        yield f"CPU, {driver.arithmetic}", np.array(found)
    for path in paths_of(artifact.format):
        if only is not None and path.name not in only:
            continue
        if (reason := path.missing()) is not None:
            print(f"  {path.title}: not executed, because {reason}")
            continue
        with tempfile.TemporaryDirectory(prefix="copying-") as scratch:
            order = PathOrder(release, artifact, tokens, first, Path(scratch), 4 * path.seconds)
            try:
                yield path.name, path.run(order).logits.argmax(-1)
            except RuntimesError as error:
                print(f"  {path.title}: {error}")


if __name__ == "__main__":
    main()
