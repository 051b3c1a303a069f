"""How a release speaks languages that are not in its evaluation text: mean KL and top-1 per text.

    python -m benchmarks.languages RELEASE [--model REF]

Every text of samples/languages is fed on its own, token by token, to each artifact, and held against
transformers on the original checkpoint. Figures to read beside the gates, not gates.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.one_variant import nothing
from exporter.checkpoints.open import open_source
from exporter.formats.table import drivers_of
from exporter.reference.streamed import reference_logits
from exporter.reference.texts import load_tokenizer, read_text
from exporter.reference.weights import OriginalWeights
from exporter.resources import data_directory
from exporter.validation.routes import SessionRunner, plan_routes, run_route
from runtimes.manifest import read_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--model")
    options = parser.parse_args()
    source = open_source(options.model)
    tokenizer = load_tokenizer(options.release / "tokenizer.json")
    for path in sorted((data_directory("samples") / "languages").glob("*.txt")):
        with tempfile.TemporaryDirectory() as scratch:
            alone = Path(scratch, "text")
            alone.mkdir()
            (alone / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
            text = read_text(alone, tokenizer, source.tokens.bos_token)
            logits = reference_logits(
                OriginalWeights(source), text.tokens, Path(scratch, "reference"), nothing
            )
            for artifact in read_manifest(options.release).artifacts:
                driver = drivers_of(artifact.format)[-1]
                with driver.open(options.release, artifact) as session:
                    route = plan_routes(session.facts, len(text.tokens) - 1)[
                        0
                    ]  # the last is only predicted
                    result = run_route(
                        SessionRunner(session),
                        route,
                        text.tokens,
                        {"original": logits},
                        tell=lambda _: None,
                    )
                found = result.agreements["original"].statistics()
                print(f"{path.stem:10} {artifact.path:24} KL {found.mean_kl:.4f} top-1 {found.top1:.1%}")


if __name__ == "__main__":
    main()
