"""What a Gemma is: its numbers (`spec`) and its computation (`decoder`), for the whole family.

Not about where weights come from, how they are quantised, or which runtime executes them.
"""
