"""A button that copies a text, such as SQL, in the browser: the kernel may be on another host."""

from __future__ import annotations

import html

import ipywidgets as widgets

# without https, browsers offer no clipboard, except for this machine: then a selection is copied
_COPY = (
    "const text=this.dataset.text,said=()=>{this.textContent='Copied'};"
    "if(navigator.clipboard)navigator.clipboard.writeText(text).then(said);"
    "else{const box=document.createElement('textarea');box.value=text;this.after(box);"
    "box.select();document.execCommand('copy');box.remove();said()}"
)


def copy_button(what: str, text: str) -> widgets.HTML:
    """Return a button that copies a text; ``what`` names it, such as ``SQL``.

    >>> copy_button("SQL", 'SELECT "a"').value[:64]
    '<button type="button" data-text="SELECT &quot;a&quot;" onclick="'
    """
    return widgets.HTML(
        f'<button type="button" data-text="{html.escape(text)}" onclick="{html.escape(_COPY)}"'
        f' class="lm-Widget jupyter-button">Copy {html.escape(what)}</button>'
    )
