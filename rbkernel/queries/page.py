"""Generate ``docs/reference/named-queries.md`` from the catalogue of named queries.

``python -m rbkernel.queries.page docs/reference/named-queries.md`` writes the page; a test checks
that the page is up to date. Pure, except `main`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rbkernel.queries import catalogue
from rbkernel.queries.catalogue import NamedQuery

_INTRODUCTION = """\
# Named queries

A named query says what is measured, so that a runbook needs no metric names of one company: \
`rb.promql("@http/error_ratio", service="shop")`, or `promql: "@http/error_ratio"` in a metric of \
the [front matter](front-matter.md). rbkernel comes with a text in PromQL for each name, for \
metrics with the usual names. If yours have other names, replace the text in `rbkernel.toml`:

```toml
[queries]
"http/latency_p95" = \
'histogram_quantile(0.95, sum by (le) (rate(envoy_latency_bucket{app={service}}[5m]))) / 1000'
```

- A text of your own must have the same unit and labels as described below, and may take only the \
same values. `rbkernel doctor` says which names your Prometheus answers, for any service.
- The values of a ratio are 0 to 1. With `unit="%"` they are percentages; other units are \
converted in the same way, such as `unit="ms"`.
- A ratio without requests has no result, which is unknown. With requests and without errors it is \
0. A counter that starts with its first error is counted from the second error on.
- Rates are those of the last 5 min, unless the text says otherwise. A text of your own may have \
a shorter range.
- The label `service` names the service in all of these metrics.

| name | takes | unit | labels of the answer | what it measures |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page of the named queries, as Markdown."""
    found = catalogue.queries().values()
    rows = "".join(map(_row, found))
    texts = "".join(f"{one.name}\n{_indented(one.text)}\n\n" for one in found)
    return f"{_INTRODUCTION}{rows}\n## Texts\n\n```text\n{texts.rstrip()}\n```\n"


def _row(one: NamedQuery) -> str:
    takes, labels = (", ".join(f"`{name}`" for name in names) for names in (one.takes, one.labels))
    return f"| `@{one.name}` | {takes} | {one.unit} | {labels} | {one.measures} |\n"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def main() -> None:
    """Write the page to the path that is the argument."""
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
