"""Bicep files, parsed: what they declare and name, and how resources fit an SDK's models.

The Bicep compiler is on no package index; its grammar for tree-sitter is.
"""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bicep.language()))
_NAMED_FIRST = ("object_property", "call_expression")  # what their first child says is no reference
_OF_BICEP = {"name", "parent", "scope", "dependsOn"}  # in a resource's body, and in no request


@dataclass(frozen=True)
class Declaration:
    """A parameter, variable, resource or output, with the decorators before it."""

    node: Node
    decorators: dict[str, list[Any]]

    @property
    def name(self) -> str:
        return text(self.node.named_children[0])

    @property
    def value(self) -> Node:
        return self.node.named_children[-1]

    @property
    def type_and_version(self) -> tuple[str, str]:
        """Of a resource."""
        name, _, version = literal(self.node.named_children[1]).partition("@")
        return name, version

    @property
    def body(self) -> Node:
        """Of a resource: its object, within loops and conditions."""
        node = self.value
        while node.type != "object":
            node = node.named_children[-1]
        return node


class Bicep:
    """A Bicep file."""

    def __init__(self, path: Path) -> None:
        self._root = _PARSER.parse(path.read_bytes()).root_node

    @property
    def syntax_errors(self) -> list[str]:
        return [
            f"line {node.start_point.row + 1}: {text(node)[:60]}"
            for node in walk(self._root)
            if node.is_error or node.is_missing
        ]

    @cached_property
    def declarations(self) -> dict[str, list[Declaration]]:
        """By kind: parameter, variable, resource, output."""
        found: dict[str, list[Declaration]] = {}
        decorators: dict[str, list[Any]] = {}
        for node in self._root.named_children:
            if node.type == "decorators":
                calls = [decorator.named_children[0] for decorator in node.named_children]
                decorators = {called(call): arguments(call) for call in calls}
            elif node.type.endswith("_declaration"):
                kind = node.type.removesuffix("_declaration")
                found.setdefault(kind, []).append(Declaration(node, decorators))
                decorators = {}
        return found

    def of(self, kind: str) -> dict[str, Declaration]:
        return {each.name: each for each in self.declarations.get(kind, [])}

    @property
    def references(self) -> set[str]:
        """Every symbol that is made use of."""
        return {text(n) for n in walk(self._root) if n.type == "identifier" and _is_use(n)}

    @property
    def loop_variables(self) -> set[str]:
        return {text(n) for n in walk(self._root) if n.type in ("loop_variable", "loop_enumerator")}

    @property
    def functions(self) -> set[str]:
        calls = [n for n in walk(self._root) if n.type == "call_expression"]
        return {called(n) for n in calls if n.parent and n.parent.type != "decorator"}


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def text(node: Node) -> str:
    return (node.text or b"").decode()


def called(call: Node) -> str:
    return text(call.named_children[0])


def arguments(call: Node) -> list[Any]:
    return [literal(node) for node in call.named_children[1].named_children]


def literal(node: Node) -> Any:
    """A literal as Python has it; None for what is only known in Azure."""
    match node.type:
        case "string" if all(child.type != "interpolation" for child in node.children):
            return text(node)[1:-1].replace("\\'", "'").replace("\\n", "\n")
        case "number":
            return int(text(node))
        case "boolean":
            return text(node) == "true"
        case "array":
            return [literal(child) for child in node.named_children]
    return None


def entries(node: Node) -> dict[str, Node]:
    """Of an object, by name."""
    properties = [child for child in node.named_children if child.type == "object_property"]
    return {text(each.named_children[0]): each.named_children[-1] for each in properties}


def misfits(body: Node, model: type, models: ModuleType) -> Iterator[str]:
    """What a resource's body says that an SDK's model does not have."""
    for name, node in entries(body).items():
        if name not in _OF_BICEP:
            yield from _misfits(node, _fields(model, models).get(name), models, at=name)


def _misfits(node: Node, kind: Any, models: ModuleType, *, at: str) -> Iterator[str]:
    if kind is None:
        yield f"{at}: there is no such property"
    elif node.type == "ternary_expression":
        for branch in node.named_children[1:]:
            yield from _misfits(branch, kind, models, at=at)
    elif node.type == "array":
        for item in node.named_children:
            yield from _misfits(item, _only(kind, list), models, at=f"{at}[]")
    elif node.type == "object" and get_origin(_present(kind)) is not dict:
        fields = _fields(_present(kind), models)
        for name, value in entries(node).items():
            yield from _misfits(value, fields.get(name), models, at=f"{at}.{name}")
    elif (value := literal(node)) is not None and not _takes(kind, value):
        yield f"{at}: {value!r} is not of {kind}"


def _fields(model: Any, models: ModuleType) -> dict[str, Any]:
    """An SDK model's types by the names on the wire."""
    if not (isinstance(model, type) and issubclass(model, MutableMapping)):
        return {}
    model()  # the names on the wire are there once one has been made
    hints = get_type_hints(model, localns={"_models": models})
    return {field._rest_name: hints[name] for name, field in model._attr_to_rest_field.items()}  # noqa: SLF001  the SDK shows them nowhere else


def _present(kind: Any) -> Any:
    """`X | None` as X."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    return kinds[0] if NoneType in get_args(kind) and len(kinds) == 1 else kind


def _only(kind: Any, origin: type) -> Any:
    present = _present(kind)
    return get_args(present)[0] if get_origin(present) is origin else None


def _takes(kind: Any, value: object) -> bool:
    kinds = get_args(kind) or (kind,)
    enums = [each for each in kinds if isinstance(each, type) and issubclass(each, Enum)]
    if enums and isinstance(value, str):
        return value in {member.value for each in enums for member in each}
    if timedelta in kinds and isinstance(value, str):
        return value.startswith("PT")
    number = isinstance(value, int) and not isinstance(value, bool) and float in kinds
    return number or type(value) in kinds


def _is_use(node: Node) -> bool:
    parent = node.parent
    if parent is None or parent.type in ("primitive_type", "type"):
        return False
    is_first = bool(parent.named_children) and parent.named_children[0] == node
    return not (is_first and parent.type.endswith(("_declaration", *_NAMED_FIRST)))
