"""The words a report uses that somebody who makes apps need not know, each with what it means.

They stand at the end of report.html. Not about what a kind of comparison tells (`wording.MEANINGS`).
"""

from __future__ import annotations

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "KL divergence",
        "How far two predictions of the next token are apart, over the whole vocabulary, in nats "
        "(logarithms to base e). 0 is identical; below 0.01 is hard to notice; above 0.1 changes answers.",
    ),
    (
        "positions",
        "Places of a text where the next token was predicted: one fewer than its tokens, as nothing "
        "follows the last one, and fewer still where a way of handing them over returns some predictions "
        "alone.",
    ),
    ("90 / 99 / 99.9 %", "The KL divergence that so many of the positions stay below."),
    (
        "gate",
        "A figure or a count held against a limit. A release of which one does not hold is kept back.",
    ),
    ("top-1", "Share of positions where both would pick the same next token."),
    (
        "perplexity ratio",
        "How much more surprised the file is by the text than the reference; 1 is equal. The ± is its "
        "standard error.",
    ),
    (
        "Δp RMS",
        "Typical change of the probability given to the token that really came next, in percentage points.",
    ),
    ("1e-6", "0.000001, a millionth."),
    (
        "prefill, decode",
        "How a text is handed over: prefill takes many tokens in one call, as of a prompt; decode takes "
        "one, as of an answer while it is written. In turns is both, one after the other.",
    ),
    (
        "longest route",
        "The way of handing over the text that gave predictions at most positions. Of several with as many "
        "it is the one farthest from the original.",
    ),
    (
        "float twin",
        "The file's own graph with floating-point numbers in place of its stored integers, made for the "
        "comparison alone. Where it differs from transformers, the graph is wrong: nothing was rounded.",
    ),
    (
        "decided",
        "A model is decided about a token that it finds at least e (2.7) times as probable as the next "
        "best. Rounding should not change such a choice.",
    ),
    (
        "KV cache",
        "Memory for what was computed of the tokens so far. A layer with a sliding window looks back only "
        "so far; where a runtime gives it room for the whole context all the same, the rest of that room "
        "is outside its window.",
    ),
    (
        "int8-channel, int4-g32",
        "How a matrix is stored: in integers of so many bits, and how many of them share a scale: those "
        "of a row, or 32 of them. “zp” is a zero point beside the scale.",
    ),
    ("greedy", "Text made by always taking the most probable token."),
    (
        "image tower",
        "The part of a model that turns a picture into rows of numbers for the part that knows language.",
    ),
    (
        "audio encoder",
        "The part of a model that turns a sound into rows of numbers for the part that knows language.",
    ),
    (
        "soft tokens",
        "The rows that an image tower makes of a picture, or an audio encoder of a sound. They stand in "
        "the prompt where tokens of text would, and each takes a position of the context, as a token does.",
    ),
    (
        "blind run",
        "A run with noughts in place of a picture's rows. A model that predicted the same as with the "
        "picture would not be looking at it.",
    ),
    (
        "deaf run",
        "The same with a sound's rows: a model that predicted the same would not be listening to it.",
    ),
    (
        "sourced, unverified",
        "Whether what is said of a device's memory names a source that was read. No device was measured.",
    ),
    (
        "may not fit",
        "A peak of memory is predicted, and predictions are too low at times: by how much they were at "
        "most is counted, and 15 % where nobody measured. What fits only without that may not fit.",
    ),
    (
        "entitlement",
        "Apple's increased-memory-limit entitlement: an app that asks for it, and is granted it, may use "
        "more memory.",
    ),
)
