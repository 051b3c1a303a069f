"""Which Vulkan adapters this machine has, and what of them decides whether a model fits: fp16, sizes.

Asked through ctypes in a process of its own (`python -m runtimes.vulkan FILE`), because drivers crash.
Not about computing on them. Structures: the Vulkan specification, version 1.1.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from runtimes.errors import BeyondAdapter, ExecutionFailed
from runtimes.own_process import own_python, run_in_own_process
from runtimes.records import from_plain, to_plain
from runtimes.strict_json import read_json_object

GPUS = ("integrated GPU", "discrete GPU")
LIBRARY = "libvulkan.so.1"
SECONDS = 60.0  # a software driver answers in half a second
KINDS = ("unknown", "integrated GPU", "discrete GPU", "virtual GPU", "CPU")  # VkPhysicalDeviceType


@dataclass(frozen=True)
class VulkanAdapter:
    """kind: one of `KINDS`. fp16: whether shaders can compute in it and keep it in buffers.
    largest_buffer: bytes a shader can see at once (maxStorageBufferRange). driver: its name and version in
    its own words, empty where it does not say (Vulkan before 1.2)."""

    name: str
    kind: str
    fp16: bool
    largest_buffer: int
    driver: str

    @property
    def in_words(self) -> str:
        """Its name, and what it is where that is not a GPU."""
        return f"{self.name}, a CPU in place of a GPU" if self.kind == "CPU" else self.name

    @property
    def described(self) -> str:
        """What decides whether a model fits, beside its name."""
        driver = f"driver {self.driver}" if self.driver else "a driver that does not name itself"
        return (
            f"{self.in_words}; {driver}; fp16: {'yes' if self.fp16 else 'no'}; "
            f"largest buffer {self.largest_buffer / 2**20:,.0f} MiB"
        )


@dataclass(frozen=True)
class VulkanListing:
    """What the process that asks leaves behind."""

    adapters: tuple[VulkanAdapter, ...]


def vulkan_adapters() -> tuple[VulkanAdapter, ...]:
    """Adapters in the loader's order, those of GPUs before others; none where no driver is installed.

    Raises BeyondAdapter where there is no loader, or its drivers do not answer.
    """
    # The loader is steered by these variables: what it said once holds for them.
    return _asked(tuple(sorted(item for item in os.environ.items() if item[0].startswith("VK_"))))


@lru_cache(maxsize=8)
def _asked(steered: tuple[tuple[str, str], ...]) -> tuple[VulkanAdapter, ...]:
    with tempfile.TemporaryDirectory(prefix="gemma-vulkan-") as scratch:
        found = Path(scratch) / "adapters.json"
        command, environment = own_python("runtimes.vulkan", str(found))
        try:
            run_in_own_process(
                command, what="asking for Vulkan adapters", seconds=SECONDS, environment=environment
            )
            listed = from_plain(VulkanListing, read_json_object(found))
        except (ExecutionFailed, OSError, ValueError) as error:
            raise BeyondAdapter(f"the Vulkan drivers here do not answer ({error})") from error
    return tuple(sorted(listed.adapters, key=lambda each: each.kind not in GPUS))


class _ApplicationInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("application", ctypes.c_char_p),
        ("application_version", ctypes.c_uint32),
        ("engine", ctypes.c_char_p),
        ("engine_version", ctypes.c_uint32),
        ("api_version", ctypes.c_uint32),
    )


class _InstanceInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.POINTER(_ApplicationInfo)),
        ("layers", ctypes.c_uint32),
        ("layer_names", ctypes.c_void_p),
        ("extensions", ctypes.c_uint32),
        ("extension_names", ctypes.c_void_p),
    )


class _Features(ctypes.Structure):
    """VkPhysicalDeviceFeatures2 and what is chained to it: as many words as any of them has."""

    _fields_ = (("type", ctypes.c_uint32), ("next", ctypes.c_void_p), ("words", ctypes.c_uint32 * 64))


class _Properties(ctypes.Structure):
    """VkPhysicalDeviceProperties2, or VkPhysicalDeviceDriverProperties chained to it."""

    _fields_ = (("type", ctypes.c_uint32), ("next", ctypes.c_void_p), ("content", ctypes.c_uint8 * 1024))


FEATURES_2, SHADER_FLOAT16, STORAGE_16_BIT = 1000059000, 1000082000, 1000083000  # VkStructureType
PROPERTIES_2, DRIVER_PROPERTIES = 1000059001, 1000196000
DRIVER_NAME_AT, DRIVER_INFO_AT = 4, 260  # behind a word of VkDriverId, 256 bytes each
API_1_1 = (1 << 22) | (1 << 12)
# VkPhysicalDeviceProperties: five words, the name, a UUID of 16 bytes; then the limits, on 8 bytes.
PROPERTIES_BYTES, KIND_AT, NAME_AT, NAME_BYTES, LIMITS_AT = 1024, 16, 20, 256, 296
MAX_STORAGE_BUFFER_RANGE = 7  # word of VkPhysicalDeviceLimits


def _enumerate() -> tuple[VulkanAdapter, ...]:
    """In this process: `vulkan_adapters` does it in another."""
    vulkan = ctypes.CDLL(LIBRARY)
    application = _ApplicationInfo(type=0, api_version=API_1_1)
    info = _InstanceInfo(type=1, application=ctypes.pointer(application))
    instance = ctypes.c_void_p()
    if vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)) != 0:
        return ()  # VK_ERROR_INCOMPATIBLE_DRIVER: none is installed
    count = ctypes.c_uint32()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    devices = (ctypes.c_void_p * count.value)()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices)
    return tuple(_adapter(vulkan, ctypes.c_void_p(device)) for device in devices[: count.value])


def _adapter(vulkan: ctypes.CDLL, device: ctypes.c_void_p) -> VulkanAdapter:
    properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
    vulkan.vkGetPhysicalDeviceProperties(device, properties)
    (kind,) = struct.unpack_from("<I", properties, KIND_AT)
    (largest,) = struct.unpack_from("<I", properties, LIMITS_AT + 4 * MAX_STORAGE_BUFFER_RANGE)
    name = _text(properties.raw, NAME_AT)
    storage = _Features(type=STORAGE_16_BIT)
    arithmetic = _Features(type=SHADER_FLOAT16, next=ctypes.addressof(storage))
    asked = _Features(type=FEATURES_2, next=ctypes.addressof(arithmetic))
    vulkan.vkGetPhysicalDeviceFeatures2(device, ctypes.byref(asked))
    fp16 = bool(arithmetic.words[0] and storage.words[0])  # shaderFloat16, storageBuffer16BitAccess
    known = KINDS[kind] if kind < len(KINDS) else KINDS[0]
    return VulkanAdapter(name, known, fp16, largest, _driver(vulkan, device))


def _driver(vulkan: ctypes.CDLL, device: ctypes.c_void_p) -> str:
    """Name and version; a driver that does not know the structure leaves it empty."""
    driver = _Properties(type=DRIVER_PROPERTIES)
    asked = _Properties(type=PROPERTIES_2, next=ctypes.addressof(driver))
    vulkan.vkGetPhysicalDeviceProperties2(device, ctypes.byref(asked))
    said = bytes(driver.content)
    return " ".join(word for at in (DRIVER_NAME_AT, DRIVER_INFO_AT) if (word := _text(said, at)))


def _text(content: bytes, at: int) -> str:
    """A C string of a fixed field."""
    return content[at : at + NAME_BYTES].split(b"\0")[0].decode("utf-8", errors="replace")


def has_loader() -> bool:
    """Whether the Vulkan loader is installed, no driver asked."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(to_plain(VulkanListing(_enumerate()))), encoding="utf-8")
