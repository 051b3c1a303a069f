"""LiteRT's float twin: the artifact's own graph in fp32, run a stage at a time. It is never shipped.

Not about making artifacts.
"""
