"""What an engineer uses in JupyterLab beside the cells: the bar under the verdict, and text boxes.

Invariant: a widget is never the only way. Each has a text, for a notebook without its kernel, that
says what to do instead. A click changes displays in place, because JupyterLab does not show new
outputs of a click.
"""
