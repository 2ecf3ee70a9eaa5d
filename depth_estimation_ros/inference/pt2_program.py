"""Whether the program in a `.pt2` is plain: tensor operators, and sizes by arithmetic.

torch.export evaluates the text of sizes and guards as Python when it loads a program, and looks functions up by any
name under `torch`, `math` and `operator`. What is let through here is what exporting a network writes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

_OPERATOR = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|torch\.sym_\w+|math\.\w+|_operator\.(\w+)")
_ARITHMETIC = {
    "abs", "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "index", "inv", "invert", "le", "lshift", "lt",
    "mod", "mul", "ne", "neg", "not_", "or_", "pos", "pow", "rshift", "sub", "truediv", "xor",
}  # fmt: skip
# Sympy's and torch's own functions of sizes. Not all that sympy has: some of them evaluate text.
_FUNCTIONS = {
    "Abs", "Add", "And", "BitwiseFn_bitwise_and", "BitwiseFn_bitwise_or", "CeilDiv", "CeilToInt", "CleanDiv",
    "Equality", "Eq", "FloatPow", "FloatTrueDiv", "Float", "FloorDiv", "FloorToInt", "Ge", "GreaterThan", "Gt",
    "Identity", "Integer", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator", "LShift", "Le", "LessThan", "Lt", "Max",
    "Min", "Mod", "ModularIndexing", "Mul", "Ne", "Not", "Or", "Piecewise", "Pow", "PowByNatural", "PythonMod",
    "RShift", "Rational", "RoundDecimal", "RoundToInt", "StrictGreaterThan", "StrictLessThan", "Symbol", "ToFloat",
    "TruncToFloat", "TruncToInt", "Unequality", "Where", "ceiling", "floor",
}  # fmt: skip
_NAMES = _FUNCTIONS | {"true", "false", "oo", "zoo", "nan", "int_oo", "L", "math", "torch"}
_OF_TENSORS = {
    "device", "dim", "dtype", "item", "layout", "ndim", "numel", "shape", "size", "storage_offset", "stride",
}  # fmt: skip
_NODES = (
    ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.keyword, ast.Name,
    ast.Subscript, ast.Attribute, ast.Tuple, ast.List, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.expr_context,
)  # fmt: skip


def foreign_part(program: Any) -> str | None:
    """Find what is more than tensor operators and arithmetic.

    Args:
        program: What the JSON of a program says.

    Returns:
        The text that torch would evaluate or look up; None where all is plain.
    """
    for key, value in _items(program):
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            if not isinstance(text, str):
                continue
            if key == "target" and not _is_operator(text):
                return text
            if key in ("expr_str", "guards_code") and not _is_arithmetic(text):
                return text
    return None


def _items(tree: Any) -> Iterator[tuple[str, Any]]:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield from node.items()
            pending += node.values()
        elif isinstance(node, list):
            pending += node


def _is_operator(name: str) -> bool:
    found = _OPERATOR.fullmatch(name)
    return found is not None and "__" not in name and (found[2] is None or found[2] in _ARITHMETIC)


def _is_arithmetic(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_plain(node) for node in ast.walk(tree))


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        # In a guard: L['image'].size()
        is_method = isinstance(node.func, ast.Attribute) and _is_plain(node.func)
        return is_method or (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS)
    if isinstance(node, ast.Name):
        return node.id in _NAMES or re.fullmatch(r"[a-z]+\d+", node.id) is not None
    if isinstance(node, ast.Attribute):
        of = node.value.id if isinstance(node.value, ast.Name) else ""
        is_function = (of == "torch" and node.attr.startswith("sym_")) or (of == "math" and node.attr.isalnum())
        return is_function or node.attr in _OF_TENSORS
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or re.fullmatch(r"\w+", node.value) is not None
    return isinstance(node, _NODES)
