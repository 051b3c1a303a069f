"""What transformers.js' `read_audio` makes of a WAV in Chromium, beside what gemma-export's driver does.

python -m benchmarks.browser_sounds

Of one sound saved in several ways: how far samples, log mel spectra of 128 bands, and rows of a tiny random
encoder are from the driver's. Not about what a release makes of them (`benchmarks.accelerators`).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch

from benchmarks.browser_page import posted_by_page
from exporter.formats.web_paths import packages
from exporter.models.audio.eager import EagerAudio
from exporter.models.audio.rows import sound_rows
from exporter.validation.sound_samples import chirp, noise
from runtimes.sounds.preparing import Waveform, prepared_sound
from runtimes.sounds.sound_file import read_sound
from tests.sound_processing import spectra
from tests.tiny_encoders import tiny_conformer

RATE = 16_000
SECONDS = 240  # for a browser, on a machine that does other things too
PAGE = """<!doctype html><meta charset="utf-8">
<script type="importmap">
{ "imports": {
  "onnxruntime-web/webgpu": "/packages/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs",
  "onnxruntime-common": "/packages/onnxruntime-common/dist/esm/index.js"
} }
</script>
<script type="module">
import { env, read_audio } from '/packages/@huggingface/transformers/dist/transformers.web.js';
env.allowLocalModels = true;
for (const name of NAMES) {
  const samples = await read_audio(`/sounds/${name}`, RATE);
  await fetch(`/read/${name}`, { method: 'POST', body: samples.buffer });
}
await fetch('/end', { method: 'POST', body: '' });
</script>
"""


class Saved(NamedTuple):
    """One sound as one kind of WAV: [samples] or [samples, channels]."""

    samples: Waveform
    rate: int
    subtype: str


def saved_sounds() -> dict[str, Saved]:
    """By what a table calls them. The pitch of 44.1 kHz is drawn at that rate, not resampled."""
    one, other = chirp(), chirp(lowest=300.0, highest=3000.0)
    finer = np.interp(np.arange(round(1.2 * 44_100)) / 44_100, np.arange(len(one)) / RATE, one)
    both = np.stack([one, other], axis=1)
    return {
        "one channel, 16 kHz, 16 bits": Saved(one, RATE, "PCM_16"),
        "one channel, 16 kHz, 24 bits": Saved(one, RATE, "PCM_24"),
        "one channel, 16 kHz, floats": Saved(one, RATE, "FLOAT"),
        "noise, 16 kHz, 16 bits": Saved(noise(), RATE, "PCM_16"),
        "two channels, 16 kHz, floats": Saved(both, RATE, "FLOAT"),
        "one channel, 44.1 kHz, floats": Saved(finer.astype(np.float32), 44_100, "FLOAT"),
    }


def read_by_browser(files: Sequence[Path], scratch: Path, installed: Path) -> Mapping[str, Waveform]:
    """By file name, at 16 kHz. installed: where node_modules is. Raises RuntimeError where the browser does
    not get through."""
    (scratch / "sounds").mkdir()
    for file in files:
        shutil.copy(file, scratch / "sounds" / file.name)
    names = json.dumps([file.name for file in files])
    page = PAGE.replace("NAMES", names).replace("RATE", str(RATE))
    (scratch / "index.html").write_text(page, encoding="utf-8")
    (scratch / "packages").symlink_to(installed.resolve() / "node_modules")
    posted = posted_by_page(scratch, SECONDS)
    return {name: np.frombuffer(body, "<f4") for name, body in posted.items()}


def main() -> int:
    encoder, processing = tiny_conformer(bands=128), spectra()
    eager = EagerAudio(encoder.weights)

    def rows(features: Waveform) -> Waveform:
        taken = torch.from_numpy(features)
        with torch.inference_mode():
            found: Waveform = sound_rows(
                encoder.spec, eager, taken, torch.ones(taken.shape[:2], dtype=torch.bool)
            ).numpy()
        return found

    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        files = {name: scratch / f"{at}.wav" for at, name in enumerate(saved_sounds())}
        for name, (samples, rate, subtype) in saved_sounds().items():
            soundfile.write(files[name], samples, rate, subtype=subtype)
        heard = read_by_browser(list(files.values()), scratch, packages())
        print("| WAV | samples: largest | spectra: largest | mean | rows: mean relative |")
        print("|---|---|---|---|---|")
        for name, file in files.items():
            ours, theirs = read_sound(file, processing).samples, heard[file.name]
            one, other = (prepared_sound(each, processing).features for each in (ours, theirs))
            apart, far = np.abs(ours - theirs), np.abs(one - other)
            moved = np.abs(rows(one) - rows(other)).mean() / np.abs(rows(one)).mean()
            print(f"| {name} | {apart.max():.2g} | {far.max():.2g} | {far.mean():.2g} | {moved:.2g} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
