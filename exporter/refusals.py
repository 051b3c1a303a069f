"""What is refused before any of a job's work, where its model and its plans can tell.

Not about devices on which nothing fits (`planning.releases`), or how places taken are told of
(`packaging.staging`).
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError
from exporter.job import PROMPTS, Job, require_token_limit
from exporter.listing import listed
from exporter.lowering.interface import RefusesMedia
from exporter.models.text.spec import ModelSpec
from exporter.packaging.release_directories import release_directories
from exporter.packaging.staging import require_free
from exporter.packaging.working_directory import held_outputs
from exporter.planning.memory import export_memory, require_memory
from exporter.planning.plan import Plan
from exporter.planning.planned_model import PlannedModel
from exporter.planning.releases import PlannedRelease
from exporter.quantization.calibrated_quantize import calibration_size
from exporter.reference.calibration_text import require_unseen
from exporter.reference.texts import Texts
from exporter.request import Flags
from exporter.scheme_choice import require_choice
from exporter.stage_memory import planned_stages
from exporter.validation.greedy import require_room_to_answer
from exporter.validation.sample_pictures import require_known_places
from exporter.workshop import EQUALISED_ON, image_order, sound_order

FEWEST = 1  # positions compared: how many more a text has, its tokenizer says


def require_before_fetching(model: PlannedModel, releases: Sequence[PlannedRelease], flags: Flags) -> None:
    """What nothing of a published model's files decides, asked before gigabytes of them are fetched.

    Raises ReleaseError for an output that is in the way or cannot be written, UsageError for calibration
    text that cannot be read or is judged on, and PlanError for less memory than a stage needs whatever text
    is compared.
    """
    require_unseen(flags.calibration)
    if flags.max_ram is not None:
        for each in releases:
            require_memory(export_memory(model.spec, each.plan, FEWEST, calibration_size()), flags.max_ram)
    if flags.output is None:
        return  # it is named after what is fetched
    outputs = release_directories(model.name, releases, flags.output)
    with held_outputs(outputs, flags.output):
        for out in outputs:
            require_free(out, flags.force)


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
        names = listed(dict.fromkeys(plan.variant.recipe.name for plan in job.plans))
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
