"""从一本笔记本里切出一个表达式要的语句，只运行它们；要训练过的网络的，切不出来。"""

import ast
import builtins
import symtable
from collections.abc import Iterator
from typing import Any

import nbformat

from helpers.book.source import symbols

TRAINING = ("train", "fit")


class Trained(Exception):
    """要的东西是训练出来的。"""


def namespace(notebook: nbformat.NotebookNode, cell_id: str, wanted: ast.expr) -> dict[str, Any]:
    """一格里的表达式求值要的名字，运行它们的语句得来。要训练过的网络时抛出 Trained。"""
    names: dict[str, Any] = {}
    module = ast.Module(sliced(statements(notebook, cell_id), wanted), type_ignores=[])
    exec(compile(module, f"〔{cell_id}〕", "exec"), names)
    return names


def statements(notebook: nbformat.NotebookNode, cell_id: str) -> list[ast.stmt]:
    """到这一格为止的语句，不算最后的表达式。"""
    found: list[ast.stmt] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found += ast.parse(cell.source).body
        if cell.id == cell_id:
            return found
    raise ValueError(cell_id)


def sliced(before: list[ast.stmt], wanted: ast.expr) -> list[ast.stmt]:
    """before 里求 wanted 要的语句，次序不变。

    函数里用到的名字，用的时候才找，所以是最后的那一个；别的是它前面最近的一个。
    """
    kept: set[int] = set()
    seen: set[tuple[str, int]] = set()
    waiting = _uses(wanted, len(before), len(before))
    while fresh := waiting - seen:
        seen |= fresh
        makers = {i for name, end in fresh for i in _makers(before, name, end)} - kept
        kept |= makers
        waiting = {use for i in makers for use in _uses(before[i], i, len(before))}
    return [before[i] for i in sorted(kept)]


def _uses(node: ast.stmt | ast.expr, here: int, last: int) -> set[tuple[str, int]]:
    """(用到的名字, 在第几句以前找它)。"""
    now, later = _needs(node)
    return {(name, here) for name in now} | {(name, last) for name in later}


def _makers(before: list[ast.stmt], name: str, end: int) -> Iterator[int]:
    """end 以前造出或改动 name 的语句，从后往前，到造出它的为止；它在那以后训练过就抛出 Trained。"""
    for i in range(end - 1, -1, -1):
        if name in _trained(before[i]):
            raise Trained(name)
        changed = name in _changes(before[i])
        if changed or name in _stores(before[i]):
            yield i
            if not changed:
                return
    if not hasattr(builtins, name):
        raise NameError(name)


def _trained(statement: ast.stmt) -> set[str]:
    """这一句训练了什么：交给 train、fit 的；函数只是写在那里，不算。"""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return set()
    return {name.id for call in ast.walk(statement) if isinstance(call, ast.Call)
            and getattr(call.func, "id", getattr(call.func, "attr", "")) in TRAINING
            for given in call.args for name in ast.walk(given) if isinstance(name, ast.Name)}


def _stores(statement: ast.stmt) -> set[str]:
    """这一句造出哪些名字。"""
    return {symbol.get_name() for symbol in _table(statement).get_symbols()
            if symbol.is_assigned() or symbol.is_imported()}


def _changes(statement: ast.stmt) -> set[str]:
    """这一句改动哪些本来就有的名字：x += 1、x[0] = 1、x.y = 1。"""
    found = set()
    for node in ast.walk(statement):
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            inner = target
            while isinstance(inner, ast.Subscript | ast.Attribute):
                inner = inner.value
            if isinstance(inner, ast.Name) and (inner is not target or isinstance(node, ast.AugAssign)):
                found.add(inner.id)
    return found


def _needs(node: ast.stmt | ast.expr) -> tuple[set[str], set[str]]:
    """(当场就要的名字, 函数里面用到的名字)。"""
    now, later, tables = set(), set(), [(_table(node), False)]
    while tables:
        table, inside = tables.pop()
        inside = inside or (table.get_type() == "function" and table.get_name() != "genexpr")
        (later if inside else now).update(
            symbol.get_name() for symbol in table.get_symbols()
            if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()))
        tables += [(child, inside) for child in table.get_children()]
    return now, later


def _table(node: ast.AST) -> symtable.SymbolTable:
    return symbols(ast.unparse(node))
