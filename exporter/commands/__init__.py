"""The subcommands of `gemma-export`, one a module: flags in, words on the console, an exit code.

They and `exporter.cli` are the only places that print. Heavy packages are imported by those that need
them, so that `--help` answers at once. Not about doing what is asked.
"""
