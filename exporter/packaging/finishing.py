"""What a release holds beside artifacts and reports: recipe, licence, model card, manifest and checksums.

Not about where the directory goes (`staging`).
"""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.files.hub_layout import SENTENCEPIECE, TOKENIZER
from exporter.checkpoints.interface import CheckpointSource, TokenFacts
from exporter.formats.family import Prompting
from exporter.formats.table import family_of
from exporter.models.components import towers_of, unused_tower
from exporter.models.text.spec import ModelSpec
from exporter.packaging.adapter_licence import add_adapters_licence
from exporter.packaging.card_inputs import CardImages, CardSounds
from exporter.packaging.escaping import plain
from exporter.packaging.gallery import write_allowlist
from exporter.packaging.licences import write_licence_pack
from exporter.packaging.measured import MeasuredQuality
from exporter.packaging.model_card import ModelCard, write_model_card
from exporter.packaging.origin import origin_of
from exporter.packaging.release import Runnable, participating_versions, seal_release
from exporter.planning.plan import Plan
from exporter.progress import Progress
from runtimes.formats import Format
from runtimes.images.processing import read_processing
from runtimes.manifest import Artifact, TowerName
from runtimes.sounds.processing import read_sound_processing

RECIPE_NAME = "recipe.toml"
TOWERS: dict[TowerName, str] = {"vision": "image tower", "audio": "audio encoder"}


def finish_release(
    release: Path,
    source: CheckpointSource,
    plan: Plan,
    runnable: Runnable,
    quality: MeasuredQuality,
    progress: Progress,
) -> None:
    """Write all of it beside artifacts and reports that are there."""
    spec, variant, artifacts = source.components["text"].spec, plan.variant, runnable.artifacts
    (release / RECIPE_NAME).write_text(variant.recipe.text, encoding="utf-8")
    recipe = plain(variant.recipe.name)
    licence = write_licence_pack(
        release,
        model=plain(source.name),
        model_type=spec.model_type,
        documents=source.documents,
        modified=runnable.paths,
        change=f"The weights were quantised (recipe {recipe}) and the format was converted.",
    )
    licence = add_adapters_licence(release, licence, source.adapter)
    if source.tokens.chat_template is not None:
        write_allowlist(release, plain(source.name), plan, artifacts)
    write_model_card(
        release,
        ModelCard(
            model=source.name,
            model_type=spec.model_type,
            parameters=spec.parameter_count(),
            towers=_towers(source, runnable),
            source_digests=source.digests(),
            recipe=variant.recipe.name,
            target=variant.name,
            context=variant.context,
            scheme_counts=plan.scheme_counts(),
            left_out=source.left_out,
            remarks=_remarks(source, plan, runnable),
            artifacts=artifacts,
            rings=_rings(spec, plan, artifacts),
            prompting=_prompting(release, source.tokens),
            origin=origin_of(source),
            quality=quality,
            licence=licence,
            images=_images(release, runnable),
            sounds=_sounds(release, runnable),
        ),
    )
    seal_release(
        release,
        source=source,
        plan=plan,
        runnable=runnable,
        versions=participating_versions(variant.formats, also=_packages_of(source)),
        progress=progress,
    )


def _towers(source: CheckpointSource, runnable: Runnable) -> dict[str, int]:
    taken = {each.component for each in runnable.encoders}
    used = (each for each in towers_of(source.components) if each.name in taken)
    return {TOWERS[each.name]: each.spec.parameter_count() for each in used}


def _rings(spec: ModelSpec, plan: Plan, artifacts: tuple[Artifact, ...]) -> frozenset[Format]:
    """Formats whose sessions can be set back by little alone."""
    return frozenset(
        each.format
        for each in artifacts
        if family_of(each.format).has_rings(
            spec, each.context, plan.longest_call(each.format, each.prefill_chunk)
        )
    )


def _remarks(source: CheckpointSource, plan: Plan, runnable: Runnable) -> tuple[str, ...]:
    unused = unused_tower(source.components, runnable.encoders)
    return (*source.remarks, *source.tokens.remarks, *plan.remarks, *unused)


def _images(release: Path, runnable: Runnable) -> CardImages | None:
    seeing = tuple(each for each in runnable.encoders if each.component == "vision")
    return CardImages(seeing, read_processing(release)) if seeing else None


def _sounds(release: Path, runnable: Runnable) -> CardSounds | None:
    hearing = tuple(each for each in runnable.encoders if each.component == "audio")
    return CardSounds(hearing, read_sound_processing(release)) if hearing else None


def _prompting(release: Path, tokens: TokenFacts) -> Prompting:
    from tokenizers import Tokenizer  # here: it loads a native library

    begin = Tokenizer.from_file(str(release / TOKENIZER)).id_to_token(tokens.bos_token)
    return Prompting(begin or "", tokens.chat_template is not None)


def _packages_of(source: CheckpointSource) -> tuple[str, ...]:
    """What reads this checkpoint's own files; transformers may import it for other reasons, too."""
    names = source.digests().keys()
    read = (
        ("gguf", any(name.endswith(".gguf") for name in names)),
        ("sentencepiece", SENTENCEPIECE in names and TOKENIZER not in names),
    )
    return tuple(package for package, is_read in read if is_read)
