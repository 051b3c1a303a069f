"""Which initialisations leave the published base alone, so that their factors may be added to it.

peft's own PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA subtract what the factors start as from the base's
weights (LoftQ quantises them too), and save only the factors. Not about how factors are merged.
Source: peft 0.21 `LoraLayer.update_layer` and the `*_init` methods it calls.
"""

from __future__ import annotations

from exporter.errors import CheckpointError

KEY = "init_lora_weights"
# The base stays as it was: B starts at 0 (gaussian, EVA, and MiCA's A), or B @ A does (orthogonal).
BASE_UNTOUCHED = ("gaussian", "eva", "mica", "orthogonal")
BASE_CHANGED = {
    "pissa": "PiSSA took the base's largest singular values out of it",
    "olora": "OLoRA took a part of the base's QR decomposition out of it",
    "corda": "CorDA took a part of the base's decomposition by its activations out of it",
    "loftq": "LoftQ quantised the base and made the factors of what that lost",
    "lora_ga": "LoRA-GA took a first step along the gradient out of the base",
}
CONVERTIBLE = ("pissa", "olora", "corda", "lora_ga")


def refuse_foreign_base(value: object, where: str) -> None:
    """Raise CheckpointError for an `init_lora_weights` whose factors belong to a base nobody published."""
    if value is None or isinstance(value, bool):
        return
    if not isinstance(value, str):
        raise CheckpointError(
            f"{where}: {KEY}", f"expected true, false or a name, got {value!r:.200}", "mend it"
        )
    name = value.lower()
    if name in BASE_UNTOUCHED:
        return
    kind = next((kind for kind in BASE_CHANGED if name.startswith(kind)), None)
    if kind is None:
        raise CheckpointError(
            f"{where}: {KEY}",
            f"is {value!r:.200}, which this gemma-export does not know",
            "write true if it leaves the base's weights alone, or merge it with peft and export the result",
        )
    raise CheckpointError(
        f"{where}: {KEY}",
        f"is {value!r:.200}: {BASE_CHANGED[kind]}, so the factors do not belong to the published base",
        "save it again as a plain LoRA with peft's path_initial_model_for_weight_conversion, or merge it "
        "where it was trained and export the result"
        if kind in CONVERTIBLE
        else "merge it where it was trained and export the result",
    )
