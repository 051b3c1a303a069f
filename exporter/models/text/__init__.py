"""The text decoder: its numbers, families, one readable forward pass, and the dialect a runtime provides.

Not about reading config.json as a whole (`exporter.models.config`).
"""
