"""The toolchain: from a Gemma checkpoint to a release that has been run and compared.

Not about running a release on a device: that is `runtimes`, which never imports this package.
"""

__version__ = "0.1.0"
