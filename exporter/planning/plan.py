"""`Plan`: what an export will do, decided before any work and refused if it cannot end well.

Not about doing it. A plan is a value: recipe and target in, a scheme for every matrix and the bytes
they take out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError
from exporter.models.text.spec import ModelSpec
from exporter.planning.decisions import Carrier, decide
from exporter.planning.recipe import Recipe
from exporter.schemes import IntegerScheme, Scheme
from runtimes.manifest import Format

PREFILL_CHUNK = 128  # tokens a call takes where a runtime wants a fixed number of them

FORMAT_FAMILY: dict[Format, str] = {
    "tflite": "litert",
    "litertlm": "litert",
    "onnx": "onnx",
    "coreml": "coreml",
}


@dataclass(frozen=True)
class Plan:
    """schemes: canonical name to scheme, for every matrix. context: positions of the KV caches.

    taken_over: matrices whose source's codes are kept. refusals: matrices whose source's codes could
    have been kept but for a runtime of the plan, and why.
    """

    recipe: Recipe
    target: str
    formats: tuple[Format, ...]
    context: int
    schemes: Mapping[str, Scheme]
    taken_over: frozenset[str]
    refusals: Mapping[str, str]
    weight_bytes: int

    @property
    def prefill_chunk(self) -> int:
        return min(PREFILL_CHUNK, self.context)

    def scheme_counts(self) -> dict[str, int]:
        """Scheme name to the number of matrices that have it."""
        return dict(Counter(scheme.name for scheme in self.schemes.values()))


def make_plan(
    spec: ModelSpec,
    recipe: Recipe,
    target: str,
    formats: tuple[Format, ...],
    context: int,
    carriers: Mapping[str, Carrier],
    held: Mapping[str, HeldCodes],
) -> Plan:
    """Decide, and refuse what cannot be carried.

    carriers: by runtime family. held: the source's codes. Raises PlanError for a context beyond the
    model's, a scheme a target cannot carry, a matrix a scheme does not divide, or nothing to keep where
    the recipe keeps what is stored.
    """
    if not 0 < context <= spec.context_length:
        raise PlanError(
            f"--context {context}",
            f"{spec.model_type} was trained for at most {spec.context_length} tokens",
            f"choose a context from 1 to {spec.context_length}",
        )
    families = dict.fromkeys(FORMAT_FAMILY[format] for format in formats)
    decisions = decide(spec, recipe, held, {family: carriers[family] for family in families})
    schemes = {name: decision.scheme for name, decision in decisions.items()}
    for family in families:
        accepted = carriers[family].schemes
        for name, scheme in schemes.items():
            if scheme.name not in accepted:
                raise PlanError(
                    f"recipe {recipe.name}",
                    f"gives {name} scheme {scheme.name}, which {family} cannot carry unchanged",
                    f"choose one of {', '.join(sorted(accepted))} for it, or another --target",
                )
    weight_bytes = 0
    for weight in spec.weights():
        if weight.is_matrix:
            scheme = schemes[weight.name]
            require_divisible(weight.name, weight.shape, scheme)
            weight_bytes += scheme.stored_bytes(weight.shape)
    taken_over = frozenset(name for name, decision in decisions.items() if decision.taken_over)
    refusals = {name: decision.refusal for name, decision in decisions.items() if decision.refusal}
    return Plan(recipe, target, formats, context, schemes, taken_over, refusals, weight_bytes)


def require_divisible(name: str, shape: tuple[int, ...], scheme: Scheme) -> None:
    """Raise PlanError unless a matrix's inputs divide into the scheme's groups and packed words."""
    if not isinstance(scheme, IntegerScheme):
        return
    per = max(scheme.group or 1, 32 // scheme.bits)
    if shape[1] % per:
        raise PlanError(
            name,
            f"its {shape[1]} inputs do not divide into {scheme.name}'s {per}",
            "choose another scheme for it in the recipe",
        )
