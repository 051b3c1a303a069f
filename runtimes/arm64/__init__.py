"""An artifact on a phone's instruction set without a phone: the light install inside QEMU's user emulation.

`python -m runtimes.arm64.prepare` makes the root it needs, `emulation` runs an artifact there. What runs is
the vendor runtime's ARM build on an emulated processor: it proves the arithmetic and the kernels of that
instruction set, not speed, memory behaviour, a GPU or an NPU.
"""
