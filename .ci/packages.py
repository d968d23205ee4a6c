"""Prints each package, its lines of code, and the packages that it imports."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import grimp


def main() -> None:
    """Print the graph, by package."""
    graph = grimp.build_graph("rbkernel")
    imports: dict[str, set[str]] = defaultdict(set)
    lines: Counter[str] = Counter()
    for module in sorted(graph.modules):
        package = _package(module)
        file = Path(*module.split("."))
        source = file.with_suffix(".py") if not file.is_dir() else file / "__init__.py"
        lines[package] += source.read_text(encoding="utf-8").count("\n")
        imports[package] |= {
            _package(other) for other in graph.find_modules_directly_imported_by(module)
        }
    for package in sorted(lines):
        above = " ".join(sorted(imports[package] - {package})) or "nothing"
        print(f"{package:26} {lines[package]:6,} lines   imports {above}")


def _package(module: str) -> str:
    """Return the folder of a module, without `rbkernel`; a module of the top is its own."""
    inner = module.split(".")[1:]
    if Path("rbkernel", *inner).is_dir():
        return "/".join(inner) or "rbkernel"
    return "/".join(inner[:-1]) or inner[0]


if __name__ == "__main__":
    main()
