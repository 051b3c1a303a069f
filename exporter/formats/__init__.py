"""What is true of a runtime, as values: one room per family of formats, and one table.

Not about writing artifacts (`exporter.lowering`) or running them (`runtimes`).
"""
