"""Every reader of files that somebody else wrote, with a sound file for it and the errors it may raise.

Not about how files are damaged (`mutations`) or what is asserted of the outcome (`test_readers`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import soundfile
from PIL import Image

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.checkpoints.gguf.architectures import recognise
from exporter.checkpoints.gguf.file import GgufFile
from exporter.checkpoints.gguf.vocabulary_metadata import read_gguf_tokens, read_vocabulary
from exporter.checkpoints.huggingface.weight_files import find_weights
from exporter.errors import ExportError
from exporter.lowering.coreml.read_back import read_matrices
from exporter.lowering.litert.reading import open_models
from exporter.lowering.onnx.read_back import read_back
from exporter.planning.profiles import read_profile
from exporter.planning.recipe import load_recipe
from exporter.quantization.store.journal import read_record
from exporter.resources import data_directory
from exporter.validation.sound_samples import RATE, tones
from exporter.views.json_report import from_json, to_json
from runtimes.errors import RuntimesError
from runtimes.images.picture import read_picture
from runtimes.images.processing import read_processing
from runtimes.litert.container import bundle_models
from runtimes.litert.model_file import model_files
from runtimes.manifest import read_manifest
from runtimes.mil.execution import Execution
from runtimes.recorded_calls import read_recorded_calls
from runtimes.sounds.processing import read_sound_processing
from runtimes.sounds.sound_file import read_sound
from runtimes.strict_json import StrictJsonError, parse_json
from tests.fuzz import checkpoint_files, sound_files
from tests.fuzz.mutations import damaged_bytes, damaged_json
from tests.golden.reports import passing
from tests.image_processing import squashing
from tests.pictures import noise
from tests.sound_processing import spectra
from tests.unit.runtimes.test_manifest import MANIFEST
from tests.unit.runtimes.test_recorded_calls import RECORD as RECORDED

RECORD = {
    "schema_version": 3, "architecture": {"a": 1}, "schemes": {"w": "int8"}, "methods": {},
    "source": {"f": "0"}, "origins": {"w": ["quantised", "BF16"]}, "embedding_columns": False,
}  # fmt: skip
INDEX = {
    "metadata": {"total_size": 1},
    "weight_map": {"b": "model-1.safetensors", "model.norm.weight": "model-1.safetensors"},
}
SHARD = "model-1.safetensors"
OURS = (ExportError, RuntimesError)


@dataclass(frozen=True)
class FuzzedReader:
    """write: sound files into a directory, and the one to damage. read: everything that is read of it.

    structured: damaged as JSON half of the time, else as bytes always.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    structured: bool = False
    refuses: tuple[type[Exception], ...] = OURS

    def damaged(self, sound: bytes, seed: int) -> bytes:
        chance = random.Random(seed)
        if self.structured and chance.random() < 0.7:
            return damaged_json(json.loads(sound), chance)
        return damaged_bytes(sound, chance)


def _file(name: str, content: Callable[[], bytes | str]) -> Callable[[Path], Path]:
    def write(directory: Path) -> Path:
        found = content()
        (directory / name).write_bytes(found if isinstance(found, bytes) else found.encode())
        return directory / name

    return write


def _sharded(directory: Path) -> Path:
    (directory / SHARD).write_bytes(sound_files.safetensors_bytes())
    return _file("model.safetensors.index.json", lambda: json.dumps(INDEX))(directory)


def _in_package(name: str) -> Callable[[Path], Path]:
    return lambda directory: sound_files.write_mlpackage(directory / "m.mlpackage") / name


def _read_package(path: Path) -> object:
    package = next(each for each in path.parents if each.suffix == ".mlpackage")
    refusals = []
    for read in (lambda: list(read_matrices(package)), lambda: Execution.open(package, "fp32").close()):
        try:
            read()
        except OURS as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
    return None


def _picture(kind: str) -> Callable[[Path], Path]:
    def content() -> bytes:
        held = BytesIO()
        frames = [Image.fromarray(noise(40, 24, seed)) for seed in (1, 2)]
        several = {"save_all": True, "append_images": frames[1:]} if kind in ("GIF", "TIFF") else {}
        frames[0].save(held, kind, **several)
        return held.getvalue()

    return _file("a.picture", content)


def _sound(kind: str) -> Callable[[Path], Path]:
    def content() -> bytes:
        held = BytesIO()
        soundfile.write(held, tones(), RATE, format=kind)
        return held.getvalue()

    return _file("a.sound", content)


def _read_gguf(path: Path) -> object:
    file = GgufFile.open(path)
    for name, tensor in file.tensors.items():
        file.read_rows(name, 0, 1 if len(tensor.shape) == 1 else tensor.shape[0])
    read_gguf_tokens(file, read_vocabulary(file).vocabulary, 1 << 20)
    try:
        return recognise(file, ())
    except ExportError as error:  # no model is known here: the sound file is refused for that alone
        if "is not a model known as GGUF" not in str(error):
            raise
    return None


def _read_safetensors(path: Path) -> object:
    file = SafetensorsFile.open(path)
    return [file.read_bytes(name, 0, header.nbytes) for name, header in file.tensors.items()]


def _read_litert(path: Path) -> object:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    model_files(path, scratch)
    return [
        file.rows(matrix, start, stop)
        for file in open_models(path).values()
        for matrix in file.matrices.values()
        for start, stop in file.row_ranges(matrix)
    ]


def _profile() -> str:
    return (data_directory("device_profiles") / "pixel-9.toml").read_text(encoding="utf-8")


def _recipe() -> str:
    return load_recipe("int8").text


CHECKPOINTS: Mapping[str, FuzzedReader] = {
    **{
        kind: FuzzedReader(checkpoint_files.write_config(config), checkpoint_files.read_config, True)
        for kind, config in checkpoint_files.CONFIGS.items()
    },
    **{
        name: FuzzedReader(checkpoint_files.write_beside(name), checkpoint_files.read_checkpoint, True)
        for name in checkpoint_files.BESIDE
    },
    "tokenizer.json": FuzzedReader(
        checkpoint_files.write_tokenizer_json, checkpoint_files.read_checkpoint, True
    ),
    "tokenizer.model": FuzzedReader(
        checkpoint_files.write_sentencepiece, checkpoint_files.read_checkpoint
    ),
    "adapter_config.json": FuzzedReader(
        checkpoint_files.write_adapter_file("adapter_config.json"), checkpoint_files.read_adapter, True
    ),
    "adapter_model.safetensors": FuzzedReader(
        checkpoint_files.write_adapter_file("adapter_model.safetensors"), checkpoint_files.read_adapter
    ),
}  # fmt: skip

READERS: Mapping[str, FuzzedReader] = {
    "any JSON": FuzzedReader(
        _file("any.json", lambda: json.dumps({**RECORD, "x": [1.5, None, "é"]})),
        lambda path: parse_json(path.read_bytes()), True, (StrictJsonError,),
    ),
    "manifest.json": FuzzedReader(
        _file("manifest.json", MANIFEST.to_json), lambda path: read_manifest(path.parent), True
    ),
    "image_processing.json": FuzzedReader(
        _file("image_processing.json", squashing().to_json), lambda path: read_processing(path.parent), True
    ),
    **{
        f"picture, {kind}": FuzzedReader(_picture(kind), read_picture)
        for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF")
    },
    "sound_processing.json": FuzzedReader(
        _file("sound_processing.json", spectra().to_json),
        lambda path: read_sound_processing(path.parent), True,
    ),
    **{
        f"sound, {kind}": FuzzedReader(_sound(kind), lambda path: read_sound(path, spectra()))
        for kind in ("WAV", "FLAC", "OGG", "MP3")
    },
    "recorded_calls.json": FuzzedReader(
        _file("recorded_calls.json", RECORDED.to_json),
        lambda path: read_recorded_calls(path.parent, MANIFEST), True,
    ),
    "report.json": FuzzedReader(
        _file("report.json", lambda: to_json(passing())),
        lambda path: from_json(path.read_text("utf-8", "replace"), "report.json"), True,
    ),
    "quantized.json": FuzzedReader(
        _file("quantized.json", lambda: json.dumps(RECORD)), lambda path: read_record(path.parent), True
    ),
    "safetensors index": FuzzedReader(
        _sharded, lambda path: find_weights(CheckpointDirectory(path.parent)), True
    ),
    "recipe": FuzzedReader(_file("int8.toml", _recipe), lambda path: load_recipe(str(path))),
    "device profile": FuzzedReader(
        _file("pixel-9.toml", _profile), read_profile
    ),
    "safetensors": FuzzedReader(_file("m.safetensors", sound_files.safetensors_bytes), _read_safetensors),
    "GGUF": FuzzedReader(lambda directory: sound_files.write_gguf(directory / "m.gguf"), _read_gguf),
    ".tflite": FuzzedReader(_file("m.tflite", sound_files.tflite_bytes), _read_litert),
    ".litertlm": FuzzedReader(
        lambda directory: sound_files.write_litertlm(directory / "m.litertlm"),
        lambda path: (bundle_models(path), _read_litert(path)),
    ),
    "ONNX graph": FuzzedReader(
        lambda directory: sound_files.write_onnx(directory / "model.onnx"),
        lambda path: list(read_back(path)),
    ),
    "mlpackage manifest": FuzzedReader(_in_package("Manifest.json"), _read_package, True),
    "MIL program": FuzzedReader(_in_package("Data/com.apple.CoreML/model.mlmodel"), _read_package),
    "weight.bin": FuzzedReader(_in_package("Data/com.apple.CoreML/weights/weight.bin"), _read_package),
}  # fmt: skip
