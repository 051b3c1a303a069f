"""Deciding before working: which scheme each weight gets, and whether the target can carry it.

Not about how codes are computed, packed or stored.
"""
