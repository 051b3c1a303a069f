"""What drivers were measured to take of memory, and by that how far off predictions of it are, in words.

The table is data that ships (`measured_memory.toml`), written by `benchmarks/memory.py`; what a report
says of its predictions is computed from it, so that neither can be changed without the other. Not about
measuring, nor about the predictions themselves (`exporter.formats.held_memory`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from exporter.formats.held_memory import Metric, OpenedModel, counted
from exporter.formats.table import family_of
from exporter.listing import listed
from exporter.models.published import published_config
from exporter.models.text.families import read_spec
from exporter.planning.estimates import cache_size
from exporter.planning.plan import PREFILL_CHUNK
from exporter.planning.recipe import load_recipe
from exporter.planning.strict_toml import parse_toml, read_toml_text
from runtimes.formats import Accelerator, Format
from runtimes.records import from_plain

TABLE = Path(__file__).with_name("measured_memory.toml")
FITTED_TO = "gemma-3-270m"  # whose rows the constants of `exporter.formats` were fitted to
MEASURED_ON = "on the CPU"  # every row
MEASURED_BY: frozenset[Metric] = frozenset({"ru_maxrss", "phys_footprint"})
MOST_OFF = 0.15  # what a prediction may be off by; `benchmarks/memory.py` and a test hold it to that
MEGABYTE = 10**6
HEAD = """\
# Peaks of drivers on a CPU under Linux, caches filled, without a tokenizer, in MB (10^6); anonymous: the
# process's own of them. `python -m benchmarks.memory --record` writes the rows of what it measures. All but
# gemma-3-270m had random weights at true widths; where a model has more layers than a row, its first ones
# were measured. Reports say by this table how far off predictions are.
"""


Predicted = tuple[Format, Accelerator, Metric]
"""What memory was predicted of, and how it was counted."""


@dataclass(frozen=True)
class MeasuredMemory:
    """A driver's peaks. model: a published one's id. layers: its first ones that were there."""

    model: str
    layers: int
    recipe: str
    context: int
    format: Format
    total_mb: int
    anonymous_mb: int

    @property
    def what(self) -> tuple[str, int, str, int, Format]:
        """What was measured; the rest is what was found."""
        return self.model, self.layers, self.recipe, self.context, self.format

    @property
    def is_whole(self) -> bool:
        """Whether all layers of the model were there."""
        return self.layers == len(read_spec(published_config(self.model), self.model).layers)

    @property
    def off(self) -> float:
        """0.1 where a tenth more was predicted than was measured, of all that counts on Linux."""
        return self.off_by("ru_maxrss")

    def off_by(self, metric: Metric) -> float:
        """The same of what a metric counts of a process on a CPU: all of it, or its own memory."""
        measured = self.anonymous_mb if metric == "phys_footprint" else self.total_mb
        predicted = sum(counted(family_of(self.format).holds(self.opened()), metric).values())
        return predicted / (measured * MEGABYTE) - 1

    def opened(self) -> OpenedModel:
        """The same as predictions are made of it."""
        config = {**published_config(self.model), "num_hidden_layers": self.layers}
        if "layer_types" in config:
            config["layer_types"] = config["layer_types"][: self.layers]
        spec, family = read_spec(config, self.model), family_of(self.format)
        return OpenedModel(
            spec=spec,
            schemes=load_recipe(self.recipe).schemes(spec),
            format=self.format,
            accelerator="CPU",
            context=self.context,
            prefill_chunk=PREFILL_CHUNK,
            cache_bytes=cache_size(spec, self.context, PREFILL_CHUNK, family).bytes,
            text_bytes=0,
            with_tokenizer=False,
        )


@dataclass(frozen=True)
class _Table:
    measured: tuple[MeasuredMemory, ...]


@cache
def measured_memory() -> tuple[MeasuredMemory, ...]:
    """Every row there is."""
    return from_plain(_Table, parse_toml(read_toml_text(TABLE))).measured


def write_measured_memory(rows: Iterable[MeasuredMemory], path: Path = TABLE) -> None:
    """The table anew, each row once, the last of those that measured the same."""
    found = {each.what: each for each in rows}
    path.write_text("\n".join([HEAD, *map(_entry, found.values())]), encoding="utf-8")


def _entry(row: MeasuredMemory) -> str:
    return (
        f'[[measured]]\nmodel = "{row.model}"\nlayers = {row.layers}\nrecipe = "{row.recipe}"\n'
        f'context = {row.context}\nformat = "{row.format}"\ntotal_mb = {row.total_mb}\n'
        f"anonymous_mb = {row.anonymous_mb}\n"
    )


def rows_of(
    rows: Iterable[MeasuredMemory], format: Format, accelerator: Accelerator, metric: Metric
) -> tuple[MeasuredMemory, ...]:
    """Those that say something of such a prediction: of the runtime, on a CPU and not in a browser."""
    if f"on the {accelerator}" != MEASURED_ON or metric not in MEASURED_BY:
        return ()
    title = family_of(format).title
    return tuple(each for each in rows if family_of(each.format).title == title)


def how_far_off(predicted: Iterable[Predicted], rows: Sequence[MeasuredMemory] | None = None) -> str:
    """Sentences on the runtimes of what was predicted: within which share of what was measured, and of
    which nothing was."""
    known = measured_memory() if rows is None else rows
    measured, unknown = [], []
    for format, accelerator, metric in dict.fromkeys(predicted):
        title, own = family_of(format).title, rows_of(known, format, accelerator, metric)
        where = "in a browser" if metric == "wasm_memory" else f"on the {accelerator}"
        if own:
            measured.append(f"of {title} {where} {listed(list(_shares(own)))}")
        else:
            unknown.append(f"{title} {where}")
    sentences = []
    if measured:
        runtimes = "; ".join(dict.fromkeys(measured))
        sentences.append(
            f"On a PC under Linux such predictions of memory were, without the tokenizer, {runtimes}."
        )
    if unknown:
        unmeasured = " and ".join(dict.fromkeys(unknown))
        sentences.append(f"Of {unmeasured} no memory was measured here.")
    return " ".join(sentences)


def _shares(rows: Sequence[MeasuredMemory]) -> Iterator[str]:
    """Rounded up: none is further off."""
    fitted = [each for each in rows if each.model == FITTED_TO]
    others = [each for each in rows if each.model != FITTED_TO]
    whole = [each for each in others if each.is_whole]
    begun = [each for each in others if not each.is_whole]
    for found, where in (
        (fitted, f"{FITTED_TO} (to which they are fitted)"),
        (whole, _models(whole)),
        (begun, f"the first layers of {_models(begun)}"),
    ):
        if found:
            worst = math.ceil(100 * max(abs(each.off) for each in found))
            runs = "1 run" if len(found) == 1 else f"{len(found)} runs"
            yield f"within {worst} % in {runs} of {where}"


def _models(rows: Sequence[MeasuredMemory]) -> str:
    return " and ".join(dict.fromkeys(each.model for each in rows))
