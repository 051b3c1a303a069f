"""A release on the light install: run, timed, and checked by its recorded calls.

numpy and one vendor runtime do; text in and out takes `tokenizers`, chat templates `jinja2`. Not about
making a release, nor about its checkpoint: nothing here imports torch or transformers.
"""
