"""一个名字从笔记本的哪些代码来：记录过的实验靠它知道代码有没有改过。"""

import ast
import symtable
from collections.abc import Callable, Iterator
from functools import cache

from helpers.book.sections import net_cells

Found = dict[tuple[str, int], str]  # (节号, 第几个语句) 到代码


def source(number: str, name: str) -> str:
    """一节里定义一个名字的代码，和它用到的别的名字的，都在带 `net` 标签的单元格里。

    `load("7.3").vgg11` 这样取自另一节的也跟过去。导入、注释、文档字符串和排版不在内。
    没有这一节或者没有这个名字时抛出 ValueError。
    """
    found: Found = {}
    _collect(number, name, found, cache(lambda number: [*_top_level(number)]))
    if not found:
        raise ValueError(f"第 {number} 节带 net 标签的单元格里没有 {name}。")
    return "\n".join(found[place] for place in sorted(found))


def same(one: str, other: str) -> bool:
    """两段代码做的是不是一样；语句的次序不论（单元格可以换地方），排版不论。"""
    return _statements(one) == _statements(other)


def _statements(code: str) -> list[str]:
    # 比语法树，不比文字：各版 Python 写回的引号不同
    return sorted(ast.dump(statement) for statement in ast.parse(code).body)


def _collect(number: str, name: str, found: Found, read: Callable[[str], list[ast.stmt]]) -> None:
    """把定义 name 的语句加进 found，它们用到的也加进去；已经在里面的不再看。read: 一节的语句。"""
    for i, statement in enumerate(read(number)):
        if (number, i) in found or name not in _bound(statement):
            continue
        found[number, i] = ast.unparse(statement)
        for used in _used(found[number, i]):
            _collect(number, used, found, read)
        for section, other in _loaded(statement):
            _collect(section, other, found, read)


def _top_level(number: str) -> Iterator[ast.stmt]:
    """一节里带 `net` 标签的单元格的语句，没有导入和文档字符串。"""
    for _, code in net_cells(number):
        for statement in ast.parse(code).body:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                yield _without_docstrings(statement)


def _without_docstrings(statement: ast.stmt) -> ast.stmt:
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return statement


def _bound(statement: ast.stmt) -> set[str]:
    """一个语句定义或改动的名字：`x = …`、`x["a"] = …`、`x.update(…)`、`def x`、`for x in …`。"""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif (isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store)) or (
                isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
                and isinstance(node.value.func, ast.Attribute)):
            names.add(_base(node))
    return names


def _base(node: ast.AST) -> str:
    """`x["a"].b(c)` 里的 x。"""
    while not isinstance(node, ast.Name):
        node = getattr(node, "value", None) or getattr(node, "func", None) or ast.Name("")
    return node.id


def _used(code: str) -> set[str]:
    """一个语句用到的全局的名字；函数和推导式自己的局部变量不算。"""
    names, waiting = set(), [symbols(code)]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols()
                  if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")}
    return names


def symbols(code: str) -> symtable.SymbolTable:
    """一段代码的符号表，各版 Python 相同。

    3.12 起，列表、集合和字典的推导式不再自成一层（PEP 709），里面的变量混进外面；所以都当作生成器，它仍然是一层。
    """
    return symtable.symtable(ast.unparse(_AsGenerators().visit(ast.parse(code))), "〔笔记本〕", "exec")


class _AsGenerators(ast.NodeTransformer):
    """推导式都写成生成器：用到的名字相同。"""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)


def _loaded(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """语句里的 `load("7.3").vgg11`：(节号, 名字)。"""
    for node in ast.walk(statement):
        match node:
            case ast.Attribute(ast.Call(ast.Name("load"), [ast.Constant(str(section))]), name):
                yield section, name
