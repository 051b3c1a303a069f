"""MIL operations, by theme, and the one table that names them (`table`).

Not about where arguments come from or what rounding follows: see `program` and `execution`.
"""
