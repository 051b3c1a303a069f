"""What is refused before any of a job's work, where its model and its plans can tell.

Not about devices on which nothing fits (`planning.releases`), or places taken (`packaging.staging`).
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError
from exporter.job import PROMPTS, Job, require_token_limit
from exporter.lowering.interface import RefusesMedia
from exporter.models.text.spec import ModelSpec
from exporter.planning.memory import require_memory
from exporter.planning.plan import Plan
from exporter.reference.texts import Texts
from exporter.request import Flags
from exporter.scheme_choice import require_choice
from exporter.stage_memory import planned_stages
from exporter.validation.greedy import require_room_to_answer
from exporter.validation.sample_pictures import require_known_places
from exporter.workshop import EQUALISED_ON, image_order, sound_order


def require_makeable(source: CheckpointSource, plans: Sequence[Plan], texts: Texts, flags: Flags) -> None:
    """Raise RecipeError or PlanError for a budget that cannot be met, SpecError for a tower without
    positions for the sample pictures, UsageError for a limit of tokens that is none, and PlanError for a
    context that a prompt fills and for less memory than a stage needs."""
    vision = source.components.vision
    require_token_limit(texts, flags.validation_tokens)
    for plan in plans:
        require_choice(source, plan.variant)
        if vision is not None:
            require_known_places(vision.spec, plan.variant.soft_tokens, source.name)
        require_room_to_answer(map(texts.prompt, PROMPTS), plan.variant.context)
        if flags.max_ram is not None:
            require_memory(planned_stages(source, plan, texts, flags.validation_tokens), flags.max_ram)


def require_media(job: Job) -> None:
    """Raise LoweringError for ways to prepare pictures or sounds that a runtime or its clients have not."""
    for plan in job.plans:
        images, sounds = image_order(job.source, plan), sound_order(job.source)
        for lowering in job.lowerings.values():
            if isinstance(lowering, RefusesMedia):
                lowering.require_media(images, sounds)


def require_calibration(job: Job) -> None:
    """Raise UsageError for calibration files that no plan of the job looks at, that are too short for one,
    or that are not to be fitted to."""
    if not job.calibration_files:
        return  # what ships is enough for every recipe that ships, and is told of when it is cut
    spec = job.source.components["text"].spec
    wanted = [_calibration_tokens(plan, spec) for plan in job.plans]
    if not any(wanted):
        names = " and ".join(dict.fromkeys(plan.variant.recipe.name for plan in job.plans))
        raise UsageError(
            "--calibration",
            f"recipe {names} uses no calibration text for this checkpoint",
            "leave --calibration out, or choose a recipe that is fitted to text, such as int4",
        )
    job.calibration.first(max(wanted))


def _calibration_tokens(plan: Plan, spec: ModelSpec) -> int:
    """Tokens of calibration text that quantising by this plan looks at."""
    calibration = plan.variant.recipe.calibration
    return max(
        0 if plan.equalization is None else EQUALISED_ON,
        0 if calibration is None else calibration.tokens_for(spec),
    )
