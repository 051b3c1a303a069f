"""What a model card says of quality, from a report: the section, and figures a catalogue can read.

Not about the card (`exporter.packaging.model_card`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from exporter.packaging.measured import MeasuredFigure, MeasuredQuality
from exporter.validation.longest_routes import on_longest_routes
from exporter.validation.report import Comparison, ValidationReport
from exporter.views.markdown import quality_section
from exporter.views.wording import number

# Domains of samples/languages that are languages, by their file's name.
LANGUAGE_CODES = {
    "arabic": "ar",
    "chinese": "zh",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "japanese": "ja",
    "korean": "ko",
    "russian": "ru",
    "spanish": "es",
}
END_TO_END = "against transformers on the original checkpoint"


def measured_quality(report: ValidationReport) -> MeasuredQuality:
    """In the figures each artifact has that of its longest routes (`on_longest_routes`)."""
    compared = (each.name for each in report.domains)
    return MeasuredQuality(
        section=quality_section(report),
        text=f"{report.text}: {number(report.text_tokens)} tokens",
        figures=tuple(each for each in _figures(report) if math.isfinite(each.value)),
        languages=tuple(sorted(LANGUAGE_CODES[name] for name in compared if name in LANGUAGE_CODES)),
    )


def _figures(report: ValidationReport) -> Iterator[MeasuredFigure]:
    worst: dict[str, Comparison] = {}
    for each in on_longest_routes(report.comparisons):
        if each.artifact is None:
            continue
        known = worst.get(each.artifact)
        if known is None or each.statistics.mean_kl > known.statistics.mean_kl:
            worst[each.artifact] = each
    for path, comparison in worst.items():
        found = comparison.statistics
        yield MeasuredFigure(path, "mean_kl_divergence", f"mean KL divergence {END_TO_END}", found.mean_kl)
        yield MeasuredFigure(path, "top_1_agreement", f"top-1 agreement {END_TO_END}", found.top1)
        yield MeasuredFigure(
            path, "perplexity_ratio", f"perplexity ratio {END_TO_END}", found.perplexity_ratio
        )
