"""What stands where an image is in one call of a decoder that takes embeddings."""

from __future__ import annotations

import numpy as np

from runtimes.multimodal.embedded_call import EmbeddedCall
from runtimes.multimodal.session import PlacedRows

IDS = np.array([2, 7, 7, 3, 7, 7, 7, 4], np.int32)
IMAGES = (
    PlacedRows(1, np.full((2, 4), 1.5, np.float32)),
    PlacedRows(4, np.full((3, 4), -2.0, np.float32)),
)


def test_rows_take_the_places_of_embeddings_and_token_0_is_looked_up_there() -> None:
    call = EmbeddedCall(IDS, IMAGES)
    assert call.looked_up.tolist() == [2, 0, 0, 3, 0, 0, 0, 4]
    embedded = np.repeat(IDS[None, :, None], 4, axis=-1).astype(np.float32)
    merged = call.merged(embedded)
    assert merged[0, :, 0].tolist() == [2, 1.5, 1.5, 3, -2, -2, -2, 4]
    assert embedded[0, 1, 0] == 7, "what was given is left alone"


def test_blocks_number_a_calls_images_behind_a_past_of_zeros() -> None:
    assert EmbeddedCall(IDS, IMAGES).blocks(2).tolist() == [[0, 0, 0, 1, 1, 0, 2, 2, 2, 0]]
    assert EmbeddedCall(IDS).blocks(1).tolist() == [[0] * 9]


def test_a_part_has_its_own_images_placed_from_its_first_token_on() -> None:
    part = EmbeddedCall.part(IDS, IMAGES, 3, 8)
    assert part.ids.tolist() == [3, 7, 7, 7, 4]
    assert [(image.start, image.stop) for image in part.placed] == [(1, 4)]
    (first,) = EmbeddedCall.part(IDS, IMAGES, 0, 3).placed
    assert (first.start, first.stop, first.of) == (IMAGES[0].start, IMAGES[0].stop, "image")


def test_a_sound_may_lie_in_two_calls_and_is_no_block() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    sound = PlacedRows(2, rows, "sound")
    first, second = (EmbeddedCall.part(IDS, (sound,), *cut) for cut in ((0, 4), (4, 9)))
    assert [each.placed[0].rows.tolist() for each in (first, second)] == [
        rows[:2].tolist(),
        rows[2:].tolist(),
    ]
    assert [(each.placed[0].start, each.placed[0].stop) for each in (first, second)] == [(2, 4), (0, 2)]
    assert not first.blocks(0).any()
