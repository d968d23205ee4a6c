"""Read code blocks of other styles as the fences that they stand for. Pure.

Jekyll, Hugo, Hexo, HTML, MyST, Confluence and MediaWiki have marks of their own. On a copy that is
only parsed, they become the marks of a fence. A block without an end, with a fence inside it, or
with words beside its marks stays as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from rbkernel.importer.reading import shell, statements
from rbkernel.importer.reading.fences import FENCE, Line

_KNOWN = shell.LANGUAGES | statements.LANGUAGES | {"promql", "logql", "yaml", "json", "text"}
_CODE = r"(?:code|samp|kbd|tt)"
# how a block begins, and how one with that NAME ends
_STYLES = tuple(
    (re.compile(begins, re.IGNORECASE), ends)
    for begins, ends in (
        (
            r"\{%-?\s*(?P<name>highlight|codeblock|code|prism)\b(?P<about>(?:[^%]|%(?!\}))*?)-?%\}",
            r"\{%-?\s*endNAME\s*-?%\}",
        ),
        (
            r"\{\{[<%]\s*(?P<name>highlight|codeblock|code-block|code|command)\b(?P<about>.*?)[>%]\}\}",
            r"\{\{[<%]\s*/\s*NAME\s*[>%]\}\}",
        ),
        (r"<(?P<name>syntaxhighlight)\b(?P<about>[^>]*)>", r"</NAME\s*>"),
        (
            rf"<(?P<name>pre)\b(?P<about>[^>]*>\s*<{_CODE}\b[^>]*|[^>]*)>",
            rf"(?:</{_CODE}>\s*)?</NAME\s*>",
        ),
        (r"<(?P<name>code)\b(?P<about>[^>]*)>(?=\s*$)", r"</NAME\s*>"),
        (r"(?P<name>:{3,})\s*\{(?:code|code-block|sourcecode)\}(?P<about>.*)$", r"^\s*NAME:*\s*$"),
        (r"\{(?P<name>code|noformat)(?::(?P<about>[^}\n]*))?\}", r"\{NAME\}"),
    )
)
# a quote, an item of a list, and tags that say nothing may stand before a mark
_PREFIX = re.compile(
    r"(?P<quote>(?:[ \t]{0,3}>[ \t]?)*)(?P<indent>[ \t]*)(?P<item>(?:[-*+]|\d+[.)])[ \t]+)?"
    r"(?:</?(?:div|p|figure|center)\b[^>]*>\s*)*"
)
_BEHIND = re.compile(r"(?:\s|</?(?:div|p|figure|br|center)\b[^>]*>)*")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s")
_INLINE_TAG = re.compile(
    rf"</?(?:span|b|strong|i|em|a|mark|u|font|{_CODE})(?:\s[^>]*)?>", re.IGNORECASE
)
_VARIABLE_TAG = re.compile(r"<var\b[^>]*>(.*?)</var>", re.IGNORECASE)
_RAW = re.compile(r"\{%-?\s*(?:end)?raw\s*-?%\}")
_NAMED = re.compile(
    r"\b(?:data-)?lang(?:uage)?\s*[:=]\s*[\"']?(?P<set>[\w+#-]+)"
    r"|\b(?:language|lang|brush|highlight-source|sourceCode)(?:-|: ?| )(?P<of_class>[\w+#-]+)"
)
# of MyST and Sphinx; the language is the word behind it
_DIRECTIVE = re.compile(r"\{(?:code|code-block|code-cell|sourcecode|prompt)\}\s*")
_OPTION = re.compile(r"[ \t]*:(?P<name>[\w-]+):[ \t]*(?P<value>[^\n]*)\n")
_FIRST_LINE = re.compile(r"\s*(?::::|#!)(?P<language>\w+)[ \t]*\n")
# of kramdown, below a block
_ATTRIBUTES = re.compile(r"[ >\t]*\{:\s*\.(?:language-)?(?P<language>[\w+-]+)[^}]*\}\s*$")


def as_fences(lines: Sequence[Line]) -> list[Line]:
    r"""Return lines in which the code blocks of other styles are fences.

    >>> texts = ["{% highlight sh %}\n", "ls\n", "{% endhighlight %}\n"]
    >>> [one.text for one in as_fences([Line(text=text, origin=0) for text in texts])]
    ['\n', '~~~sh\n', 'ls\n', '~~~\n', '\n']
    """
    found: list[Line] = []
    fence, hidden, listed, at = "", False, False, 0
    while at < len(lines):
        text = lines[at].text
        mark = None if hidden else FENCE.match(text)
        if not (fence or hidden or mark) and (block := _block(lines, at, listed=listed)):
            found += block[0]
            at = block[1]
            continue
        if mark:
            closes = fence and mark["mark"].startswith(fence) and not mark["info"].strip()
            fence = "" if closes else fence or mark["mark"]
        elif not fence:
            hidden = text.rfind("<!--") > text.rfind("-->") or (hidden and "-->" not in text)
            if text.strip():
                listed = bool(_ITEM.match(text)) or (listed and text[:1].isspace())
        found.append(lines[at])
        at += 1
    return found


def _block(lines: Sequence[Line], at: int, *, listed: bool) -> tuple[list[Line], int] | None:
    """Return the fence for the code block at a line, and the line after it; None without one."""
    text = lines[at].text
    prefix = _PREFIX.match(text)
    assert prefix is not None  # it matches the empty text
    found = ((style.match(text, prefix.end()), ends) for style, ends in _STYLES)
    begins, ends = next(((one, ends) for one, ends in found if one), (None, ""))
    if begins is None:
        return None
    deep = len(prefix["indent"].expandtabs(4)) > 3 and not listed
    of_html = begins[0].startswith("<")
    closing = re.compile(ends.replace("NAME", re.escape(begins["name"])), re.IGNORECASE)
    inside = _inside(lines, at, begins, closing)
    if inside is None or (of_html and deep):
        return None  # it has no end; or it is shown, as code
    content, (first, last), end = inside
    if of_html:
        content = [Line(text=_of_html(one.text), origin=one.origin) for one in content]
    return _fence(prefix, begins, content, (first, last), deep=deep), end


def _inside(
    lines: Sequence[Line], at: int, begins: re.Match[str], closing: re.Pattern[str]
) -> tuple[list[Line], tuple[int | None, int | None], int] | None:
    """Return the code of a block, the lines that hold nothing but its marks, and where it ends."""
    content: list[Line] = []
    for number in range(at, len(lines)):
        text = lines[number].text[begins.end() if number == at else 0 :]
        if ends := closing.search(text):
            before = _RAW.sub("", text[: ends.start()])
            if before.strip(" \t>"):
                content.append(Line(text=before.rstrip() + "\n", origin=lines[number].origin))
            if not _BEHIND.fullmatch(text, ends.end()) or not content:
                return None
            held = {one.origin for one in content}
            marks = [
                None if one.origin in held else one.origin for one in (lines[at], lines[number])
            ]
            return content, (marks[0], marks[1] if number > at else None), number + 1
        if number > at and (FENCE.match(text) or begins.re.match(text, _marked_at(text))):
            return None  # what looks like its end is that of another block
        if (plain := _RAW.sub("", text)).strip() or (number > at and plain == text):
            content.append(Line(text=plain, origin=lines[number].origin))
    return None


def _marked_at(text: str) -> int:
    """Return where a mark of a code block may begin in a line, behind a quote or a list item."""
    prefix = _PREFIX.match(text)
    return prefix.end() if prefix else 0


def _of_html(text: str) -> str:
    """Return a line of code without the tags that colour it."""
    text = _VARIABLE_TAG.sub(r"&lt;\1&gt;", re.sub(r"<br\s*/?>", "", text))
    return html.unescape(_INLINE_TAG.sub("", text))


def _fence(
    prefix: re.Match[str],
    begins: re.Match[str],
    content: list[Line],
    marks: tuple[int | None, int | None],
    *,
    deep: bool,
) -> list[Line]:
    """Return the lines of a fence, at the indentation of its code if that is smaller."""
    quote, item = prefix["quote"], prefix["item"] or ""
    inner = [one.text.removeprefix(quote) for one in content]
    beside = marks[0] is None  # the first line of code stands beside the mark
    depths = [len(one) - len(one.lstrip(" \t")) for one in inner[beside:] if one.strip()]
    whole = len(prefix["indent"]) + len(item)
    width = min([whole, *depths])
    margin = quote if deep else quote + " " * width
    starts = f"{quote}{prefix['indent']}{item}" if item and width == whole else margin
    inner = [quote + one[width if deep else 0 :] for one in inner]
    if beside:
        inner[0] = margin + inner[0].removeprefix(quote).lstrip(" \t" if deep else "")
    mark = "~" * max(
        3, 1 + max((len(one) for one in re.findall(r"~{3,}", "".join(inner))), default=0)
    )
    between = Line(text=quote.rstrip() + "\n", origin=None)
    return [
        between,
        Line(text=f"{starts}{mark}{_info(begins)}\n", origin=marks[0]),
        *(Line(text=text, origin=one.origin) for one, text in zip(content, inner, strict=True)),
        Line(text=f"{margin}{mark}\n", origin=marks[1]),
        between,
    ]


def _info(begins: re.Match[str]) -> str:
    """Return the info string of a fence: the language, and the title if there is one."""
    about = re.sub(r"https?://\S+", "", begins["about"] or "")
    title = re.findall(r"(?:title|caption|file(?:name)?)\s*=\s*\"[^\"]*\"", about)
    words = re.findall(r"[\w+#-]+", about)
    if begins["name"].lower() == "codeblock" and not title:
        title = [f'title="{" ".join(re.sub(r"lang:[^ ]+", "", about).split())}"']
    if named := _NAMED.search(about):
        language = named["set"] or named["of_class"]
    elif begins[0].startswith("<"):
        language = next((word for word in words[1:] if word.lower() in _KNOWN), "")
    else:
        language = words[0] if re.match(r"\s*[\"']?[\w+#-]+[\"']?(?:[\s|,]|$)", about) else ""
    return " ".join([language or "text" * bool(title), *title])


def info(words: str) -> tuple[str, str]:
    """Return the language in the info string of a fence, in lower case, and its attributes.

    >>> info("bash title=x"), info("{.sh .numberLines}"), info("{code-block} console")
    (('bash', 'title=x'), ('sh', '.numberLines'), ('console', ''))
    >>> info("bash{1,3}"), info("sh:title=a.sh"), info("language-sql"), info("{note}")
    (('bash', '1,3'), ('sh', 'title=a.sh'), ('sql', ''), ('note', ''))
    """
    words = _DIRECTIVE.sub("", words.strip()).strip()
    found = re.match(
        r"\{?(?:#[\w-]+\s+)?\.?(?:language-|lang(?:uage)?=)?[\"']?"
        r"(?P<word>(?!\w+\s*=)[^\s,:{}\"']*)?[\"',:{}\s]*(?P<rest>.*?)\}?$",
        words,
        re.DOTALL,
    )
    return ((found["word"] or "").lower(), found["rest"]) if found else (words.lower(), "")


def options(content: str, words: str) -> tuple[str, str, str]:
    r"""Return code without the options of a directive or its first line, its language and caption.

    >>> options(":caption: On the host\n:linenos:\n\nls\n", "{code} sh")
    ('ls\n', '', 'On the host')
    >>> options("#!bash\nls\n", ""), options("ls\n", "sh")
    (('ls\n', 'bash', ''), ('ls\n', '', ''))
    """
    if not words and (first := _FIRST_LINE.match(content)):
        return content[first.end() :], first["language"].lower(), ""
    caption, at = "", 0
    while _DIRECTIVE.match(words.strip()) and (one := _OPTION.match(content, at)):
        caption = one["value"] if one["name"] in {"caption", "name"} and not caption else caption
        at = one.end()
    return (content[at:].lstrip("\n") if at else content), "", caption


def named_below(text: str) -> str:
    """Return the language in the attributes of kramdown below a block; empty for other lines.

    >>> named_below("{: .language-bash}"), named_below("{: .note}"), named_below("x")
    ('bash', '', '')
    """
    found = _ATTRIBUTES.match(text)
    return found["language"] if found and found["language"].lower() in _KNOWN else ""
