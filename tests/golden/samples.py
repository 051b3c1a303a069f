"""What made-up reports say of images and sounds: towers as ONNX, a few samples, invented figures."""

from __future__ import annotations

from dataclasses import replace

from exporter.validation.report import Gate, GreedyRun, SampleRun, TowerInput, TowerRun
from exporter.validation.rows_apart import RELATIVE
from exporter.validation.verdict import at_least, at_most

VISION, SPEECH, DECODER = "onnx/vision.onnx", "onnx/speech.onnx", "onnx/decoder.onnx"


def image_gates() -> tuple[Gate, ...]:
    """Of an ONNX release that sees."""
    return (
        Gate("images", VISION, "stored tower weights", "differing numbers", at_most(0.0, 0.0, "numbers")),
        Gate("images", VISION, "ONNX Runtime: rows", RELATIVE, at_most(0.0031, 0.05, "share")),
        Gate("images", DECODER, "ONNX Runtime: two pictures", "mean KL", at_most(0.0021, 0.004, "nats")),
        Gate("images", DECODER, "ONNX Runtime", "mean KL of a blind run", at_least(1.7, 0.01, "nats")),
    )


def image_input(answer: str, of_text: tuple[str, ...]) -> TowerInput:
    """Two pictures, one of which was asked about. of_text: artifacts that take none."""
    said = GreedyRun("Describe this picture in one sentence.", answer, 16, 15)
    quadrants = SampleRun("quadrants.png", 256, 0.021, 0.0031, 0.99981, 3.25, said)
    quantised = replace(quadrants, largest=0.05, relative=0.011, cosine=0.9991, seconds=None, answer=None)
    digits = replace(quadrants, sample="digits.png", soft_tokens=266, answer=None)
    runs = (
        TowerRun(None, "transformers, quantised checkpoint", (quantised,)),
        TowerRun(VISION, "ONNX Runtime", (quadrants, digits)),
    )
    return TowerInput(280, (VISION,), of_text, runs)


def sound_gates() -> tuple[Gate, ...]:
    """Of the same release, which hears too."""
    return (
        Gate("sounds", SPEECH, "stored tower weights", "differing numbers", at_most(0.0, 0.0, "numbers")),
        Gate(
            "sounds", DECODER, "ONNX Runtime: sound at the start", "mean KL", at_most(0.0013, 0.003, "nats")
        ),
        Gate("sounds", DECODER, "ONNX Runtime", "mean KL of a deaf run", at_least(0.9, 0.01, "nats")),
    )


def sound_input(answer: str, of_text: tuple[str, ...]) -> TowerInput:
    """One sound, which was asked about."""
    said = GreedyRun("Describe this sound in one sentence.", answer, 16, 16)
    chirp = SampleRun("chirp", 30, 0.018, 0.0027, 0.99987, 0.125, said)
    quantised = replace(chirp, largest=0.04, relative=0.009, cosine=0.9993, seconds=None, answer=None)
    runs = (
        TowerRun(None, "transformers, quantised checkpoint", (quantised,)),
        TowerRun(SPEECH, "ONNX Runtime", (chirp,)),
    )
    return TowerInput(750, (SPEECH,), of_text, runs)
