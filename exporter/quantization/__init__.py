"""The quantised checkpoint: codes and scales found once, stored once, read by every lowering.

Not about which scheme a weight gets (`exporter.planning`) or any runtime's layout.
"""
