"""Whether what a manifest says of its release is so: of plan, model and tokens, and of each artifact.

Digests cannot tell, for whoever changes a manifest can seal it again. Not about its form, nor what it
contradicts in itself (`runtimes.manifest`), nor about the files' bytes (`release`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.formats.family import Driver
from exporter.formats.table import drivers_of
from exporter.models.components import Components
from exporter.models.vision.places import with_soft_tokens
from exporter.planning.plan import Plan
from exporter.reference.texts import TOKENIZER_NAME, Texts, load_tokenizer
from runtimes.errors import ArtifactError, ManifestError, RuntimeUnavailable, SessionError
from runtimes.excerpt import excerpt
from runtimes.formats import SUFFIXES, Format
from runtimes.images.processing import PROCESSING_NAME, ImageProcessing
from runtimes.manifest import MANIFEST_NAME, Artifact, Manifest, TowerName, sha256_of
from runtimes.sounds.processing import SOUND_PROCESSING_NAME, SoundProcessing

FACTS = ("context", "vocab_size", "prefill_chunk", "prefill_logits")


def require_true_of_plan(release: Path, manifest: Manifest, components: Components, plan: Plan) -> None:
    """Hold the manifest to what the checkpoint and the release's own recipe come to. Opens nothing.

    Raises ManifestError naming the key.
    """
    text = components["text"].spec
    due: dict[str, tuple[object, object]] = {
        "plan.context": (manifest.plan["context"], plan.variant.context),
        "plan.schemes": (manifest.plan["schemes"], plan.scheme_counts()),
        "plan.weight_bytes": (manifest.plan["weight_bytes"], plan.weight_bytes),
        "model.model_type": (manifest.model["model_type"], text.model_type),
        "model.parameters": (manifest.model["parameters"], text.parameter_count()),
    }
    if set(manifest.components) != set(components):
        why = f"the checkpoint has {', '.join(components)}"
        raise _untrue(release, "$.components", ", ".join(manifest.components), why)
    for name, entry in manifest.components.items():
        spec = components[name].spec
        due[f"components.{name}.model_type"] = (entry.model_type, spec.model_type)
        due[f"components.{name}.parameters"] = (entry.parameters, spec.parameter_count())
    for key, (said, found) in due.items():
        if said != found:
            raise _untrue(
                release, f"$.{key}", said, f"the checkpoint and the recipe come to {excerpt(found)}"
            )
    for i, artifact in enumerate(manifest.artifacts):
        suffix = SUFFIXES[artifact.format]
        if not artifact.path.endswith(suffix):
            why = f"artifacts of format {artifact.format} end in {suffix}"
            raise _untrue(release, f"$.artifacts[{i}].path", artifact.path, why)


def require_true_of_tokens(
    release: Path, manifest: Manifest, source: CheckpointSource, texts: Texts
) -> None:
    """Hold the tokens that a manifest names, and each tokenizer.json that is as it was sealed, to the
    checkpoint's: its vocabulary, and what it makes of the evaluation text. texts: in the checkpoint's.

    Releases made before their tokens were kept name none. Raises ManifestError naming the key or the file,
    and TokenizerError for a tokenizer that cannot be read.
    """
    if (said := manifest.tokens) is not None:
        own = source.tokens
        for key, told, found in (
            ("bos_token", said.bos_token, own.bos_token),
            ("stop_tokens", said.stop_tokens, own.stop_tokens),
        ):
            if told != found:
                raise _untrue(release, f"$.tokens.{key}", told, f"the checkpoint has {excerpt(found)}")
    for entry in manifest.files:
        path = release / entry.path
        if path.name != TOKENIZER_NAME or not path.is_file() or sha256_of(path) != entry.sha256:
            continue  # one that was changed is a problem of the files
        read = replace(texts, tokenizer=load_tokenizer(path, "copy the release again"))
        if read.vocabulary != texts.vocabulary or read.evaluation.sha256 != texts.evaluation.sha256:
            raise ManifestError(
                f"{path}: is not the checkpoint's tokenizer; do not trust this release, copy it again"
            )


def require_true_of_images(
    release: Path, manifest: Manifest, said: ImageProcessing, source: CheckpointSource
) -> None:
    """Hold what a release says of pictures, and of the towers that take them, to its checkpoint.

    Raises ManifestError naming the key.
    """
    due = None
    if source.images is not None:
        due = with_soft_tokens(source.images, source.components["vision"].spec, said.soft_tokens)
    if said != due:
        raise ManifestError(
            f"{release / PROCESSING_NAME}: is not what the checkpoint's own processor does; do not trust "
            "this release, copy it again"
        )
    _require_true_of_encoders(release, manifest, source, "vision", said.soft_tokens)


def require_true_of_sounds(
    release: Path, manifest: Manifest, said: SoundProcessing, source: CheckpointSource
) -> None:
    """The same of sounds, and of the encoders that take them."""
    if said != source.sounds:
        raise ManifestError(
            f"{release / SOUND_PROCESSING_NAME}: is not what the checkpoint's own processor does; do not "
            "trust this release, copy it again"
        )
    _require_true_of_encoders(release, manifest, source, "audio", said.soft_tokens)


def _require_true_of_encoders(
    release: Path, manifest: Manifest, source: CheckpointSource, tower: TowerName, soft_tokens: int
) -> None:
    width = source.components["text"].spec.hidden_size
    for i, encoder in enumerate(manifest.encoders or ()):
        if encoder.component != tower:
            continue
        for key, found in (("soft_tokens", soft_tokens), ("width", width)):
            if (told := getattr(encoder, key)) != found:
                raise _untrue(
                    release, f"$.encoders[{i}].{key}", told, f"the checkpoint comes to {excerpt(found)}"
                )


def require_true_of_artifacts(
    release: Path, manifest: Manifest, drivers: Callable[[Format], tuple[Driver, ...]] = drivers_of
) -> None:
    """Open each artifact, and hold the manifest to what it says of itself; run none.

    One that cannot be opened is passed over: that it fails is a validation's to say. Raises ManifestError
    naming the key.
    """
    for i, artifact in enumerate(manifest.artifacts):
        for key, found in _facts(release, artifact, drivers).items():
            if (said := getattr(artifact, key)) != found:
                at, why = f"$.artifacts[{i}].{key}", f"{artifact.path} has {excerpt(found)}"
                raise _untrue(release, at, said, why)


def _facts(
    release: Path, artifact: Artifact, drivers: Callable[[Format], tuple[Driver, ...]]
) -> dict[str, object]:
    try:
        with drivers(artifact.format)[0].open(release, artifact) as session:
            return {key: getattr(session.facts, key) for key in FACTS}
    except (ArtifactError, RuntimeUnavailable, SessionError):
        return {}


def _untrue(release: Path, at: str, said: object, why: str) -> ManifestError:
    return ManifestError(
        f"{release / MANIFEST_NAME}: {at}: says {excerpt(said)}, and {why}; do not trust this release, "
        "copy it again"
    )
