"""A button that copies a text, such as SQL, in the browser: the kernel may be on another host."""

from __future__ import annotations

import html

import ipywidgets as widgets

# without https, browsers offer no clipboard, except for this machine: then a selection is copied
# a browser may refuse both, and then the clipboard still has what was copied before
_COPY = (
    "const text=this.dataset.text,name=this.dataset.name||(this.dataset.name=this.textContent),"
    "say=ok=>{this.textContent=ok?'Copied':'Not copied: select the text above';"
    "setTimeout(()=>{this.textContent=name},3000)};"
    "if(navigator.clipboard)navigator.clipboard.writeText(text)"
    ".then(()=>say(true),()=>say(false));"
    "else{const box=document.createElement('textarea');box.value=text;this.after(box);"
    "box.select();const ok=document.execCommand('copy');box.remove();say(ok)}"
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
