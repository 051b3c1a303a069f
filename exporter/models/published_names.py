"""Names of published Gemmas and the repository of the Hugging Face Hub each one means.

Not about fetching (`exporter.checkpoints.huggingface.hub`): nothing here needs a network.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.errors import UsageError
from exporter.models.published import published_ids, repositories
from exporter.models.refused import SUPPORTED, refused_name
from runtimes.excerpt import plain_excerpt

# The only Gemma ever named 9B is Gemma 2's. 2B is Gemma 2's too, so that the pair belongs together;
# Gemma 4's E2B is not literally named 2B.
ALIASES = {"2b": "gemma-2-2b", "9b": "gemma-2-9b"}

# Google's releases trained for 4 bits, which follow a repository's own name.
QAT = ("-qat-q4_0-unquantized", "-qat-int4-unquantized", "-qat-w4a16-ct")

PRETRAINED, INSTRUCT = "pretrained", "instruction-tuned"


@dataclass(frozen=True)
class PublishedName:
    """What a name means. asked: as it was given. model: id in the table of published models.

    repository: on the Hub, as it is spelled there. revision: a branch, tag or commit; None for "main".
    training: "pretrained" or "instruction-tuned". other: name of the model trained the other way, None
    for one trained for 4 bits.
    """

    asked: str
    model: str
    repository: str
    revision: str | None
    training: str
    other: str | None

    def __str__(self) -> str:
        at = "" if self.revision is None else f" at {plain_excerpt(self.revision)}"
        opposite = INSTRUCT if self.training == PRETRAINED else PRETRAINED
        other = "" if self.other is None else f"; {self.other} is the {opposite} one"
        # A model's own name, or its repository's, means nothing else.
        names = (self.model, self.repository.lower(), _bare(self.repository).lower())
        same = self.asked.partition("@")[0].lower() in names
        means = "is" if same else f"means {self.model},"
        return (
            f"{plain_excerpt(self.asked)} {means} {self.training} "
            f"({self.repository}{at} on the Hugging Face Hub){other}"
        )


def resolve_name(reference: str) -> PublishedName | None:
    """The published model a name stands for: "9b", "gemma-3-4b-it", "google/gemma-4-E2B@main". None for
    anything else.

    A name that is a repository's own means that one. `-it` and `-pt` choose between instruction-tuned and
    pretrained; without either, a name that no repository has (gemma-3-4b) means the instruction-tuned.
    Raises UsageError for a Gemma that is not exported, and for an empty revision.
    """
    name, at, revision = reference.partition("@")
    plain = name.lower().removeprefix("google/")
    plain = ALIASES.get(plain, plain)
    suffix = next((ending for ending in QAT if plain.endswith(ending)), "")
    plain = plain.removesuffix(suffix)
    for model in published_ids():
        pretrained, instruct = repositories(model)
        if plain in (_bare(pretrained).lower(), f"{model}-pt"):
            chosen, training, other = pretrained, PRETRAINED, _bare(instruct)
        elif plain in (_bare(instruct).lower(), model):
            chosen, training, other = instruct, INSTRUCT, _bare(pretrained)
        else:
            continue
        if at and not revision:
            raise UsageError(
                f"--model {plain_excerpt(reference)}",
                "names an empty revision",
                "name a branch, tag or commit after the @, or leave it out",
            )
        return PublishedName(
            asked=reference,
            model=model,
            repository=chosen + suffix,
            revision=revision if at else None,
            training=training,
            other=None if suffix else other,
        )
    if "gemma" in plain and "/" not in plain and (refused := refused_name(plain)) is not None:
        raise UsageError(
            f"--model {plain_excerpt(reference)}",
            f"is {refused.title}, which is not supported: {refused.why}",
            SUPPORTED,
        )
    return None


def _bare(repository: str) -> str:
    return repository.removeprefix("google/")
