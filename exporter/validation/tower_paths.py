"""A tower on every execution path that is here and takes rows: its own against transformers', then prompts.

Of the first sample: a software GPU and an emulated processor take long. What is not tried is said. Not
about what a path is (`exporter.formats.execution_path`), logits behind rows (`prompts_on_paths`), text
(`path_check`) or paths that answer (`path_answers`).
"""

from __future__ import annotations

from exporter.formats.execution_path import ExecutionPath, RowsAnswer
from exporter.formats.rows_driver import RowsLimit
from exporter.models.vision.spec import VisionSpec
from exporter.validation.baselines import QUANTISED
from exporter.validation.checked_tower import CheckedTower
from exporter.validation.path_answers import answer_on_path
from exporter.validation.prompts_on_paths import check_prompts
from exporter.validation.report import SampleRun, TowerRun
from exporter.validation.rows_apart import rows_apart, rows_gates
from exporter.validation.sample_pictures import work_of
from exporter.validation.tower_on_path import TowerOnPath

ROWS = "rows"


def towers_on_paths(tower: CheckedTower) -> list[TowerRun]:
    """Gates, comparisons and remarks go to the findings; what made rows comes back. A path that is not here
    is put down by the check of the text."""
    found = []
    for path in tower.release.paths(tower.encoder.format):
        if path.answering is not None:
            answer_on_path(tower, path, path.answering)
            continue
        if path.missing() is not None:
            continue
        if path.sensing is None:
            what = f"{tower.modality.sample}s were not given to it, only text"
            tower.not_checked(f"{tower.path}, {path.title}: {what}.")
            continue
        on = TowerOnPath(**vars(tower), execution=path, sensing=path.sensing)
        if (held := _refused(tower, path)) is not None:
            on.say(f"it was not given {tower.modality.sample}s: {held}")
            continue
        answer = _rows(on)
        if answer is not None:
            found.append(_judged(on, answer))
        check_prompts(on, None if answer is None else answer.rows[0])
    return found


def _refused(tower: CheckedTower, path: ExecutionPath) -> str | None:
    """What keeps an artifact off a path that it is not for."""
    parts = tower.release.plan.components
    for component in (tower.modality.component, "text"):
        held = {each.name for each in parts[component].schemes.values()} & path.refused
        if held:
            return f"it holds {', '.join(sorted(held))}, and {path.why_refused}"
    return None


def _rows(on: TowerOnPath) -> RowsAnswer | None:
    spec, modality = on.modality.spec(on.release), on.modality
    if isinstance(spec, VisionSpec) and work_of(spec, on.encoder.soft_tokens) > on.sensing.most_work():
        why = f"a {modality.sample} of this tower takes what computes here many minutes"
        on.say(f"its {modality.tower} was not tried: {why}")
        return None
    sample = on.reference.samples.tried[0].prepared
    return on.attempt(on.path, ROWS, lambda order: on.sensing.rows(order, (sample,)))


def _judged(on: TowerOnPath, answer: RowsAnswer) -> TowerRun:
    expected, subject = on.reference.rows[QUANTISED][0], f"{on.title}: {ROWS}"
    apart = rows_apart(expected, answer.rows[0])
    limit = RowsLimit(on.sensing.relative, on.sensing.cosine)
    for gate in rows_gates(on.kind, on.path, subject, [apart], limit):
        on.gate(gate)
    sample = on.reference.samples.tried[0]
    made = SampleRun(
        sample=sample.name,
        soft_tokens=sample.prepared.soft_tokens,
        largest=apart.largest,
        relative=apart.relative,
        cosine=apart.cosine,
        seconds=None,
        answer=None,
    )
    return TowerRun(on.path, f"{on.title}, {answer.device}", (made,))
