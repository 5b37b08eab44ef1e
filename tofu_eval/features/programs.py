"""What program a response holds: the syntax trees of its code blocks, names of its own apart."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import warnings
from functools import cache, lru_cache
from typing import Any

from tofu_eval.core.types import digest

_BLOCK = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,})[ \t]*(?P<tag>[^\s`]*)[^\n`]*\n"
    r"(?P<code>.*?)(?:^ {0,3}(?P=fence)|\Z)",
    re.MULTILINE | re.DOTALL,
)

PYTHON = ("python", "py", "python3", "")
"""What a block of Python is called; one without a name is read as Python if it is that."""

GRAMMARS = {
    "javascript": "tree_sitter_javascript", "js": "tree_sitter_javascript",
    "java": "tree_sitter_java", "c": "tree_sitter_c", "cpp": "tree_sitter_cpp",
    "c++": "tree_sitter_cpp", "go": "tree_sitter_go", "rust": "tree_sitter_rust",
    "ruby": "tree_sitter_ruby", "bash": "tree_sitter_bash", "sh": "tree_sitter_bash",
}  # fmt: skip
"""Packages with a grammar for tree-sitter, by what a block is called. No other is imported."""

MOST = 100_000
"""Characters of a block that are parsed at most; a longer one is compared as text."""


@lru_cache(maxsize=10_000)
def program_of(response: str) -> str:
    """Digest of what a response's code does as far as its syntax tree says; equal for equal trees.

    Comments, layout, quotes, docstrings, annotations and the text around the blocks play no part,
    nor do the names that a program of Python gives to its own variables, arguments, functions and
    classes. Without a block, the whole response is read as Python. What no parser reads is compared
    by its words.
    """
    blocks = [(match["tag"].lower(), match["code"]) for match in _BLOCK.finditer(response)]
    return digest([_tree(tag, code) for tag, code in blocks or [("", response)]])


@cache
def grammars() -> tuple[str, ...]:
    """The grammars that are installed, with which other languages than Python are read."""
    if importlib.util.find_spec("tree_sitter") is None:
        return ()
    packages = sorted(set(GRAMMARS.values()))
    return tuple(name for name in packages if importlib.util.find_spec(name) is not None)


def _tree(tag: str, code: str) -> list[str]:
    if len(code) <= MOST:
        if tag in PYTHON and (tree := _python_tree(code)) is not None:
            return ["python", tree]
        package = GRAMMARS.get(tag)
        if package in grammars() and (tree := _other_tree(package or "", code)) is not None:
            return [package or "", tree]
    return ["text", " ".join(code.split())]


def _python_tree(code: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of an odd escape in a string
            tree = ast.parse(code)
        return ast.dump(_Renamed(tree).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Renamed(ast.NodeTransformer):
    """A tree whose own names are numbered in order of first use, without docstrings or types."""

    def __init__(self, tree: ast.AST) -> None:
        self._own: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._own.add(node.name)
            elif isinstance(node, ast.arg):
                self._own.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._own.add(node.id)
        self._numbers: dict[str, str] = {}

    def _rename(self, name: str) -> str:
        if name not in self._own:
            return name
        return self._numbers.setdefault(name, f"_{len(self._numbers)}")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._rename(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self._rename(node.arg), None
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        node.arg = self._rename(node.arg) if node.arg else None
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [self._rename(name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self._rename(name) for name in node.names]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.visit(ast.Assign([node.target], node.value))  # type: ignore[no-any-return]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if named:
            node.name = self._rename(node.name)  # type: ignore[attr-defined]
        if named or isinstance(node, ast.Module):
            _drop_docstring(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        return super().generic_visit(node)


def _drop_docstring(node: Any) -> None:
    first = node.body[0] if node.body else None
    value = first.value if isinstance(first, ast.Expr) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        node.body = node.body[1:] or [ast.Pass()]


def _other_tree(package: str, code: str) -> str | None:
    """The tree of another language as kinds and leaves; None where it has an error in it."""
    from tree_sitter import Language, Parser

    source = code.encode("utf-8", "replace")
    root = Parser(Language(importlib.import_module(package).language())).parse(source).root_node
    if root.has_error:
        return None
    parts, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        children = [child for child in node.children if "comment" not in child.type]
        leaf = "" if node.child_count else source[node.start_byte : node.end_byte].decode()
        parts.append(f"{node.type}:{len(children)}:{leaf}")
        waiting += reversed(children)
    return "\n".join(parts)
