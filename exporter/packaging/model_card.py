"""README.md of a release: what it is, how to run it, what was measured, under which licence.

Deterministic: nothing in it depends on when or where it was made. What was measured arrives as it is said
(`measured`); this module knows no statistics. What is said of running it is run by
tests/parity/test_card_snippets.py. Not about what catalogues are told (`catalogue`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter import __version__
from exporter.byte_size import megabytes
from exporter.formats.family import PROMPT, QUESTION, Prompting
from exporter.formats.table import facts_of, family_of
from exporter.packaging.card_images import CardImages, image_section
from exporter.packaging.catalogue import front_matter
from exporter.packaging.escaping import code, markdown
from exporter.packaging.gallery import ALLOWLIST_NAME
from exporter.packaging.licences import LicencePack
from exporter.packaging.measured import MeasuredQuality
from exporter.packaging.origin import ModelOrigin
from exporter.packaging.release import sizes
from exporter.parameter_count import parameters
from runtimes.formats import Format
from runtimes.manifest import Artifact

CARD_NAME = "README.md"
GALLERY = (
    f"`{ALLOWLIST_NAME}` is the entry for AI Edge Gallery's list; make its `modelId` the repository you\n"
    "upload to."
)
FEW_FILES = 2  # that a sentence names
BASE_MODEL = "This is a base model: it goes on with a text, and answers no questions."


@dataclass(frozen=True)
class ModelCard:
    """What the card says beside what it finds in the release.

    parameters: of the text model. tower_parameters: of the image tower, None where the release takes text
    alone. source_digests: file name to SHA-256. scheme_counts: scheme name to matrices. left_out: parts
    of the checkpoint that are not in the release. rings: formats whose caches forget positions
    (`RuntimeFamily.has_rings`). prompting: how a person begins. images: None for text alone.
    """

    model: str
    model_type: str
    parameters: int
    tower_parameters: int | None
    source_digests: Mapping[str, str]
    recipe: str
    target: str
    context: int
    scheme_counts: Mapping[str, int]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    rings: frozenset[Format]
    prompting: Prompting
    origin: ModelOrigin
    quality: MeasuredQuality
    licence: LicencePack
    images: CardImages | None = None


def write_model_card(release: Path, card: ModelCard) -> str:
    """Write README.md into the release and return its text."""
    text = render_model_card(card, sizes(release))
    (release / CARD_NAME).write_text(text, encoding="utf-8")
    return text


def render_model_card(card: ModelCard, files: Mapping[str, int]) -> str:
    """The card's text. files: relative path to bytes of what the release holds."""
    sections = (
        front_matter(card.origin, card.quality, card.artifacts, card.licence, sees=card.images is not None),
        f"# {markdown(card.model)} for {markdown(card.target)}\n\n{_opening(card)}",
        f"## Files\n\n{_files(card, files)}",
        f"## Try it\n\n{_run_any(card)}",
        *(f"## Run `{artifact.path}`\n\n{_run(card, artifact)}" for artifact in card.artifacts),
        *_pictures(card),
        f"## Measured quality\n\n{_held_against(card)}\n\n{card.quality.section.strip()}",
        f"## Source\n\n{_source(card)}",
        f"## Licence\n\n{_licence(card)}",
    )
    return "\n\n".join(sections) + "\n"


def _pictures(card: ModelCard) -> tuple[str, ...]:
    if card.images is None:
        return ()
    return (f"## Ask about a picture\n\n{image_section(card.images, card.artifacts, card.prompting)}",)


def _run_any(card: ModelCard) -> str:
    prompt = QUESTION if card.prompting.chat else PROMPT
    runtimes = dict.fromkeys(f"run-{family_of(each.format).name}" for each in card.artifacts)
    extras = ",".join(("run", *runtimes))
    return f"""`gemma-export` is the tool that made this release (version {__version__}). In its source's
directory `pip install '.[{extras}]'` installs what the commands here need, without PyTorch.
This runs the first artifact below whose runtime is installed:

```sh
gemma-export run . "{prompt}"
```"""


def _held_against(card: ModelCard) -> str:
    """What every figure is against: never a model that was not there."""
    base = card.origin.base
    names = " and ".join(code(name) for name in sorted(card.source_digests))
    files = names if len(card.source_digests) <= FEW_FILES else "the files under Source"
    if base is None:
        return f"Figures are against the checkpoint this was made from: {files}."
    if card.origin.itself:
        return f"Figures are against {code(base)} as it is published: {files}."
    return (
        f"Figures are against the checkpoint this was made from, {files}, and not against {code(base)} "
        "itself. If that checkpoint was quantised or trained further, what it lost or learnt by that is "
        "not in them."
    )


def _run(card: ModelCard, artifact: Artifact) -> str:
    told = facts_of(artifact.format).how_to_run(artifact, card.prompting)
    if artifact.format not in card.rings:
        return told
    back = family_of(artifact.format).rewindable
    return f"""{told}

Layers with a sliding window keep little more than the window. An app may set a session back by at most
{back} tokens (LiteRT-LM's rewinding and checkpoints): further back it would read what came later."""


def _opening(card: ModelCard) -> str:
    schemes = ", ".join(f"{count} × `{name}`" for name, count in sorted(card.scheme_counts.items()))
    paragraphs = [
        f"Made from {markdown(card.model)} ({code(card.model_type)}, {parameters(card.parameters)}"
        f"{_tower(card)}) with gemma-export, recipe {code(card.recipe)}: weight matrices are "
        f"stored as {schemes}. "
        f"The KV cache holds {card.context} tokens."
    ]
    if not card.prompting.chat:
        paragraphs.append(BASE_MODEL)
    if card.left_out:
        left_out = "; ".join(map(markdown, card.left_out))
        held = "text model only" if card.tower_parameters is None else "model for text and images"
        paragraphs.append(f"This is the {held}. Left out of the checkpoint: {left_out}.")
    paragraphs += card.remarks
    return "\n\n".join(paragraphs)


def _tower(card: ModelCard) -> str:
    count = card.tower_parameters
    return "" if count is None else f", and an image tower of {parameters(count)}"


def _files(card: ModelCard, files: Mapping[str, int]) -> str:
    """Artifacts that are directories count as one; README.md does not list itself."""
    encoders = () if card.images is None else card.images.encoders
    paths = (*(each.path for each in card.artifacts), *(each.path for each in encoders))
    packages = {path for path in paths if path not in files}
    shown: dict[str, int] = {}
    for path, size in files.items():
        inside = next((package for package in packages if path.startswith(f"{package}/")), None)
        name = path if inside is None else f"{inside}/"
        shown[name] = shown.get(name, 0) + size
    rows = [f"| {code(name)} | {megabytes(size)} |" for name, size in shown.items() if name != CARD_NAME]
    return "\n".join(
        [
            "| File | Size |",
            "|---|---:|",
            *rows,
            "",
            "`manifest.json` describes every file; `sha256sum -c SHA256SUMS` checks them, and",
            "`gemma-export validate .` runs them again.",
            *([GALLERY] if ALLOWLIST_NAME in files else []),
        ]
    )


def _source(card: ModelCard) -> str:
    rows = [f"| {code(name)} | `{digest}` |" for name, digest in sorted(card.source_digests.items())]
    return "\n".join(["| Source file | SHA-256 |", "|---|---|", *rows])


def _licence(card: ModelCard) -> str:
    licence, title = card.licence, card.licence.licence.title
    notes = " ".join(licence.notes)
    return (
        f"{title[:1].upper()}{title[1:]}; see [`NOTICE`](NOTICE), which lists the modified files and the "
        f"conditions that travel with them. {notes}"
    )
