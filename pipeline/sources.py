"""Which source files a module depends on, read from its imports without running them.

Snakemake cannot see into `python -m ...`; a rule that has the digest of these files as a parameter reruns
exactly when the code it runs was edited.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .artifacts import read_json, write_json
from .errors import DataError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pipeline"


def sources(module: str) -> list[str]:
    """The files of `module` and of everything it imports from this package, directly or not.

    Imports under `if TYPE_CHECKING:` do not run and do not count. Paths are relative inside the working
    directory, so that a moved checkout reruns nothing.

    Args:
        module: a dotted name inside the package, e.g. `pipeline.data.audio`.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    _require(module)
    return sorted(relative(path) for path in _closure(module))


def _require(module: str) -> None:
    if _file_of(module) is None:
        raise ModuleNotFoundError(f"{module}: no such module under {ROOT}")


def relative(path: Path) -> str:
    """A path as Snakemake should record it: relative inside the working directory, else absolute.

    However a file was reached (`results/../configs`, a link to the checkout), it has one name: Snakemake runs a job
    again whose inputs are called differently from last time.
    """
    file, here = path.resolve(), Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


@cache
def sources_digest(module: str) -> str:
    """One hash over the content of `sources(module)`."""
    _require(module)
    digest = hashlib.sha256()
    for file in sorted(_closure(module), key=str):
        digest.update(_content_digest(file))
    return digest.hexdigest()


@cache
def _content_digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


@cache
def _closure(module: str) -> frozenset[Path]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if name in seen or file is None:
            continue
        seen.add(name)
        waiting += [*_parents(name), *_imports(name, file)]
    return frozenset(path for path in map(_file_of, seen) if path is not None)


@cache
def _file_of(module: str) -> Path | None:
    base = f"{ROOT}/{module.replace('.', '/')}"
    return next((path for path in (Path(f"{base}.py"), Path(f"{base}/__init__.py")) if path.is_file()), None)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


@cache
def _imports(module: str, file: Path) -> tuple[str, ...]:
    stamp, known = _stamp(file), _parsed_before()
    if known.get(str(file), {}).get("stamp") != stamp:
        known[str(file)] = {"stamp": stamp, "imports": list(_find_imports(module, file))}
    return tuple(known[str(file)]["imports"])


def _stamp(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_mtime_ns, stat.st_size]


@cache
def _parsed_before() -> dict[str, dict[str, Any]]:
    """The imports of each file when it was last parsed; written back when this process ends.

    Parsing the whole package costs most of a second, and every job asks. Kept where Python keeps what it compiled,
    made if Python was told to keep nothing; where that cannot be written, the next process parses again.
    """
    path = ROOT / PACKAGE / "__pycache__" / "imports.json"
    known: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(DataError):
        known = read_json(path)
    before = dict(known)

    def keep() -> None:
        if known != before:
            with contextlib.suppress(DataError, OSError):
                path.parent.mkdir(exist_ok=True)
                write_json(path, known)

    atexit.register(keep)
    return known


def _find_imports(module: str, file: Path) -> Iterator[str]:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in _executed_statements(ast.parse(file.read_text()).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            if base.split(".")[0] == PACKAGE:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _executed_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements at any depth but those under `if TYPE_CHECKING:`; expressions hold no imports."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            for part in getattr(node, name, []):
                yield from _executed_statements([part] if isinstance(part, ast.stmt) else part.body)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)
