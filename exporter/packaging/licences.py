"""The licence pack: what must travel with a converted model, by what its checkpoint states, else by family.

Gemma 1 to 3 are under the Gemma Terms of Use (section 3.1): recipients get the terms, the use
restrictions of section 3.2, a "Notice" file with a set sentence, and are told what was modified.
Gemma 4 is under Apache-2.0: a copy of it, and a notice of changes. The terms' own text is taken
from the checkpoint, never from us. A checkpoint that states another licence beside its weights is under
that one: it is named and carried, and the family's terms are not asserted over it. Not legal advice, and
not about this project's own licence.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import ReleaseError
from exporter.packaging.stated_licence import StatedLicence, read_stated_licence

NOTICE_NAME = "NOTICE"
GEMMA_SENTENCE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
)
APACHE_TEXT = Path(__file__).parent / "apache-2.0.txt"


class Licence(Enum):
    """A licence a Gemma is published under; the value is its name in a model card."""

    GEMMA = "gemma"
    APACHE = "apache-2.0"

    @property
    def title(self) -> str:
        return "Gemma Terms of Use" if self is Licence.GEMMA else "Apache License 2.0"

    @property
    def front_matter(self) -> tuple[str, ...]:
        """The lines of a model card that say it."""
        return (f"license: {self.value}",)


# By transformers' model_type of the text architecture.
LICENCES = {
    "gemma": Licence.GEMMA,
    "gemma2": Licence.GEMMA,
    "gemma3_text": Licence.GEMMA,
    "vaultgemma": Licence.GEMMA,
    "gemma4_text": Licence.APACHE,
    "gemma4_unified_text": Licence.APACHE,
}

# What checkpoints call their legal files, in lower case, before the suffix.
_DOCUMENTS = ("gemma_terms", "terms", "licen", "use_policy", "prohibited_use_policy", "notice", "copying")
_SUFFIXES = ("", ".txt", ".md", ".html", ".pdf")
_LARGEST = 4 << 20  # bytes; a legal text is not larger


@dataclass(frozen=True)
class LicencePack:
    """files: what was written, relative to the release. text: the file with the licence's own text,
    None where the source had none. notes: sentences for the model card."""

    licence: Licence | StatedLicence
    files: tuple[str, ...]
    text: str | None
    notes: tuple[str, ...]


def licence_of(model_type: str) -> Licence:
    """The licence of an architecture. Raises ReleaseError for one that nobody has looked up."""
    if model_type not in LICENCES:
        raise ReleaseError(
            model_type,
            "no licence is known for this family",
            f"one of {', '.join(LICENCES)} can be released",
        )
    return LICENCES[model_type]


def licence_title(source: CheckpointSource) -> str:
    """What a release of this checkpoint will be under, in words, before there is a release."""
    family = licence_of(source.components["text"].spec.model_type)
    if source.documents is None:
        return family.title
    directory = CheckpointDirectory(source.documents)
    with tempfile.TemporaryDirectory() as place:
        stated = stated_licence(directory, Path(place), copy_documents(directory, Path(place)))
    return (family if stated is None else known_licence(stated)).title


def write_licence_pack(
    release: Path,
    *,
    model: str,
    model_type: str,
    documents: Path | None,
    modified: tuple[str, ...],
    change: str,
) -> LicencePack:
    """Write NOTICE and the licence's text into the directory `release`.

    documents: directory of the source's legal files, None where it has none. modified: paths in the
    release that hold the changed model. change: what was done to it, one sentence.
    """
    family = licence_of(model_type)
    directory = None if documents is None else CheckpointDirectory(documents)
    copied = copy_documents(directory, release)
    stated = stated_licence(directory, release, copied)
    licence = family if stated is None else known_licence(stated)
    match licence:
        case Licence.GEMMA:
            text = next((name for name in copied if _is_gemma_terms(release / name)), None)
            restrictions = _gemma_restrictions(text)
            opening = GEMMA_SENTENCE
        case Licence.APACHE:
            text = next((name for name in copied if _is_apache(release / name)), None)
            if text is None:
                text = "LICENSE" if "LICENSE" not in copied else "LICENSE-Apache-2.0"
                shutil.copyfile(APACHE_TEXT, release / text)
                copied = (*copied, text)
            restrictions = f"The text of the licence is in {text}."
            opening = f"{model} is provided under the Apache License, Version 2.0"
        case StatedLicence():
            text = next((name for name in copied if is_licence(name)), None)
            restrictions = _own_text(text)
            opening = f"{model} is provided under {licence.title}, as {licence.file} of its source states"
            if Licence.GEMMA.value in (licence.identifier, *licence.also):
                terms = next((name for name in copied if _is_gemma_terms(release / name)), None)
                opening = f"{opening}\n\n{GEMMA_SENTENCE}"
                restrictions = f"{restrictions}\n\n{_gemma_restrictions(terms)}"
    notes = _notes(licence, text)
    if stated is not None and licence is not family:
        beside = _beside_the_family(stated, family)
        restrictions, notes = f"{restrictions}\n\n{beside}", (*notes, beside)
    if large := left_out_for_size(directory):
        restrictions, notes = f"{restrictions}\n\n{large}", (*notes, large)
    changes = "\n".join(f"    {path}" for path in modified)
    (release / NOTICE_NAME).write_text(
        f"{opening}\n\n"
        f"The following files are modified versions of {model}, made with gemma-export. {change}\n\n"
        f"{changes}\n\n"
        f"{restrictions}\n",
        encoding="utf-8",
    )
    return LicencePack(licence, (NOTICE_NAME, *copied), text, notes)


def stated_licence(
    directory: CheckpointDirectory | None, release: Path, copied: tuple[str, ...]
) -> StatedLicence | None:
    """README.md's word, else what a LICENSE file is that was copied, or too large to be; None where there
    is neither."""
    if directory is None:
        return None
    stated = read_stated_licence(directory)
    own = next((name for name in copied if is_licence(name)), None)
    large = next((name for name in _too_large(directory) if is_licence(name)), None)
    if stated is None and own is None and large is not None:
        return StatedLicence("other", None, None, large)
    if stated is not None or own is None:
        return stated
    if _is_gemma_terms(release / own):
        identifier = Licence.GEMMA.value
    else:
        identifier = Licence.APACHE.value if _is_apache(release / own) else "other"
    return StatedLicence(identifier, None, None, own)


def known_licence(stated: StatedLicence) -> Licence | StatedLicence:
    """One of ours, where it is that one alone."""
    ours = (each for each in Licence if each.value == stated.identifier and not stated.also)
    return next(ours, stated)


def is_licence(name: str) -> bool:
    return name.lower().startswith(("licen", "copying"))


def _own_text(text: str | None) -> str:
    if text is not None:
        return f"The text of the licence is in {text}."
    return (
        "The text of the licence was not in the source checkpoint: find it and add it before you pass\n"
        "these files on."
    )


def _beside_the_family(stated: StatedLicence, family: Licence) -> str:
    return (
        f"The licence is what {stated.file} of the source checkpoint states. Models of this architecture "
        f"are published under the {family.title}; whether those bind here too is for whoever passes these "
        "files on to find out."
    )


def _gemma_restrictions(text: str | None) -> str:
    found = (
        f"The text of the terms is in {text}."
        if text is not None
        else "The text of the terms was not in the source checkpoint: read it at\n"
        "ai.google.dev/gemma/terms and add it before you pass these files on."
    )
    return (
        "Use of these files is subject to the use restrictions of section 3.2 of the terms, which\n"
        "include the Gemma Prohibited Use Policy at ai.google.dev/gemma/prohibited_use_policy. They\n"
        "bind everyone who receives these files. Whoever passes them on passes on the terms, these\n"
        "restrictions as an enforceable provision, and this notice.\n\n"
        f"{found}"
    )


def _notes(licence: Licence | StatedLicence, text: str | None) -> tuple[str, ...]:
    if text is None:
        what = "terms" if licence is Licence.GEMMA else "licence"
        return (
            f"The text of the {what} was not in the source checkpoint, so it is not in this release "
            "either. Add it before you pass the release on.",
        )
    return (f"Its text is in [`{text}`]({text}).",)


def copy_documents(
    documents: CheckpointDirectory | None, release: Path, of: str | None = None
) -> tuple[str, ...]:
    """Copy the source's legal files; a NOTICE of its own steps aside for ours, and so does every file of
    something else that went into the release, which `of` names.

    Raises CheckpointError for one that is a link out of the checkpoint.
    """
    if documents is None:
        return ()
    copied = []
    for path in _legal_files(documents):
        if path.stat().st_size > _LARGEST:
            continue
        stem, suffix = path.stem.lower(), path.suffix.lower()
        whose = of or ("source" if stem == "notice" else None)
        name = path.name if whose is None else f"{path.stem if of else 'NOTICE'}-of-{whose}{suffix}"
        shutil.copyfile(documents.file(path.name), release / name)
        copied.append(name)
    return tuple(copied)


def left_out_for_size(documents: CheckpointDirectory | None) -> str:
    """A sentence that names the legal files too large to be copied, empty where there is none."""
    names = [] if documents is None else _too_large(documents)
    if not names:
        return ""
    return (
        f"Left out of this release, as it is larger than {_LARGEST >> 20} MiB: {', '.join(names)} of the "
        "source. Read it there and add it before you pass these files on."
    )


def _too_large(documents: CheckpointDirectory) -> list[str]:
    return [path.name for path in _legal_files(documents) if path.stat().st_size > _LARGEST]


def _legal_files(documents: CheckpointDirectory) -> Iterator[Path]:
    for path in sorted(documents.path.iterdir()):
        named = path.stem.lower().startswith(_DOCUMENTS) and path.suffix.lower() in _SUFFIXES
        if named and path.is_file():
            yield path


def _is_gemma_terms(path: Path) -> bool:
    text = _plain(path)
    return all(words in text for words in ("gemma terms of use", "model derivatives", "use restrictions"))


def _is_apache(path: Path) -> bool:
    text = _plain(path)
    return "apache license" in text and "terms and conditions for use, reproduction" in text


def _plain(path: Path) -> str:
    """A file's words in lower case, whatever its line breaks."""
    return " ".join(path.read_text(encoding="utf-8", errors="replace").lower().split())
