"""A report's plots, as SVG that stands in a page and takes its colours from it.

Not about which figures there are, nor about the page (`exporter.views.html_report`).
"""
