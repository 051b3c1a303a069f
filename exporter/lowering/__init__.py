"""From the quantised checkpoint to a runnable artifact, one package per runtime.

Not about quantising: integers are taken from the quantised checkpoint as they are.
"""
