"""Where a prompt with images and sounds is cut into the calls of a LiteRT graph.

Where tokens of an image see each other, no call ends within one: a graph's prefill is long enough for an
image then. Where they do not, an image is cut as text is, and so is every sound. Not about what a call is
given (`calls`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtimes.errors import NoRoomForCall, SessionError
from runtimes.litert.calls import GraphCall, prefill_calls
from runtimes.multimodal.placing import rows_within
from runtimes.multimodal.session import PlacedRows
from runtimes.session import SessionFacts, Tokens


@dataclass(frozen=True)
class PlacedCalls:
    """whole: whether images are not to be cut."""

    facts: SessionFacts
    whole: bool

    def of(self, tokens: Tokens, position: int, placed: Sequence[PlacedRows]) -> Iterator[GraphCall]:
        """The calls that append `tokens` behind `position`. placed: that lie in them, in order. Raises
        SessionError before the first call for an image that fits into none."""
        images = [each for each in placed if each.of == "image"]
        if self.whole and images:
            calls = iter(list(self._around(tokens, position, images)))
        else:
            calls = prefill_calls(tokens, position, self.facts)
        for call in calls:
            start = call.position - position
            yield replace(call, placed=rows_within(placed, start, start + call.count))

    def _around(self, tokens: Tokens, position: int, images: Sequence[PlacedRows]) -> Iterator[GraphCall]:
        longest, done = self.facts.prefill_chunk, 0
        for image in images:
            if image.stop <= done:
                continue  # it lay in the call of the one before
            length = image.stop - image.start
            if length > longest:
                raise SessionError(
                    f"an image of {length} tokens does not fit into a call of {longest}; "
                    "export with as many image tokens"
                )
            if image.stop - done > longest:
                yield from prefill_calls(tokens[done : image.start], position + done, self.facts)
                done = image.start
            stop = min(done + longest, len(tokens))
            for other in images:
                stop = other.start if other.start < stop < other.stop else stop
            at = position + done
            if at + longest > self.facts.context:
                # Padded it would not fit, and the runtime would clamp it onto earlier positions.
                raise NoRoomForCall(
                    f"a call of {longest} tokens for an image at position {position + image.start} exceeds "
                    f"the context of {self.facts.context}; put the picture before the text, take another "
                    "format of the release, or export with a longer --context"
                )
            padded = np.zeros(longest, np.int32)
            padded[: stop - done] = tokens[done:stop]
            yield GraphCall("prefill", padded, at, stop - done)
            done = stop
        if done < len(tokens):
            yield from prefill_calls(tokens[done:], position + done, self.facts)
