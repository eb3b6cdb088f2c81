"""The text under each field of a class, read from the source when somebody wants to see it.

Pydantic would read it when the class is made (`use_attribute_docstrings`): a tenth of a node's
start, for a documentation that most nodes never show.
"""

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def explained(model: type[BaseModel]) -> dict[str, str]:
    """Return the texts by field, those of the classes it stands on among them."""
    texts: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            texts |= _of_module(each.__module__).get(each.__name__, {})
    return texts


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except OSError:  # installed without sources
        return {}
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    return {each.name: dict(_texts(each.body)) for each in classes}


def _texts(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, under in pairwise(body):
        match field, under:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                yield name, inspect.cleandoc(text)
