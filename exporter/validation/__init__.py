"""Running what was written and comparing it with the reference: measurements, limits, verdicts.

Not about making artifacts, nor about how a report looks (`exporter.views`).
"""
