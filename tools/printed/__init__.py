"""What runs print in the docs: `python -m tools.printed` writes it anew, `--check` says what would change.

A mark `<!-- printed: KIND -->` stands above a block, a table or a paragraph; each kind has its writer.
"""
