"""Where weights come from: checkpoint sources and the file formats under them.

Not about what the weights mean (`exporter.models`) or how they are quantised.
"""
