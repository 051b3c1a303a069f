"""Apple's Core ML, through coremltools: the driver for macOS.

Not about other systems: `runtimes.mil` executes the same package anywhere, by its own arithmetic.
"""
