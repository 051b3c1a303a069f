"""MIL evaluator: runs a saved Core ML package (ML Program) on any system, with numpy alone.

It executes the artifact's bytes under MIL semantics, in fp32 or in fp16 arithmetic. Not about
speed on a device, placement on the Neural Engine, or whether Core ML itself loads the package.
"""
