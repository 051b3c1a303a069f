"""What a release holds beside artifacts and reports: recipe, licence, model card, manifest and checksums.

Not about where the directory goes (`staging`).
"""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.files.hub_layout import SENTENCEPIECE, TOKENIZER
from exporter.checkpoints.interface import CheckpointSource
from exporter.formats.table import family_of
from exporter.packaging.escaping import plain
from exporter.packaging.licences import write_licence_pack
from exporter.packaging.model_card import ModelCard, write_model_card
from exporter.packaging.release import participating_versions, seal_release
from exporter.planning.plan import Plan
from exporter.progress import Progress
from runtimes.manifest import Artifact

RECIPE_NAME = "recipe.toml"


def finish_release(
    release: Path,
    source: CheckpointSource,
    plan: Plan,
    artifacts: tuple[Artifact, ...],
    quality: str,
    progress: Progress,
) -> None:
    """Write all of it beside artifacts and reports that are there. quality: Markdown for the model card."""
    spec, variant = source.components["text"].spec, plan.variant
    (release / RECIPE_NAME).write_text(variant.recipe.text, encoding="utf-8")
    recipe = plain(variant.recipe.name)
    licence = write_licence_pack(
        release,
        model=plain(source.name),
        model_type=spec.model_type,
        documents=source.documents,
        modified=tuple(artifact.path for artifact in artifacts),
        change=f"The weights were quantised (recipe {recipe}) and the format was converted.",
    )
    write_model_card(
        release,
        ModelCard(
            model=source.name,
            model_type=spec.model_type,
            parameters=spec.parameter_count(),
            source_digests=source.digests(),
            recipe=variant.recipe.name,
            target=variant.name,
            context=variant.context,
            scheme_counts=plan.scheme_counts(),
            left_out=source.left_out,
            remarks=(*source.remarks, *source.tokens.remarks, *plan.remarks),
            artifacts=artifacts,
            rings=frozenset(
                each.format
                for each in artifacts
                if family_of(each.format).has_rings(spec, each.context, each.prefill_chunk)
            ),
            quality=quality,
            licence=licence,
        ),
    )
    seal_release(
        release,
        source=source,
        plan=plan,
        artifacts=artifacts,
        versions=participating_versions(variant.formats, also=_packages_of(source)),
        progress=progress,
    )


def _packages_of(source: CheckpointSource) -> tuple[str, ...]:
    """What reads this checkpoint's own files; transformers may import it for other reasons, too."""
    names = source.digests().keys()
    read = (
        ("gguf", any(name.endswith(".gguf") for name in names)),
        ("sentencepiece", SENTENCEPIECE in names and TOKENIZER not in names),
    )
    return tuple(package for package, is_read in read if is_read)
