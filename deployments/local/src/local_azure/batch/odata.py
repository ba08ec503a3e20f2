"""The part of OData's `$filter` that Batch supports: comparisons, startswith, and, or, not."""

import operator
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from local_azure.batch.lexer import Token, tokens

LONGEST = 4000
DEEPEST = 20
Lookup = Callable[[str], Any]
Clause = Callable[[Lookup], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<punctuation>[(),])"
    r"|(?P<time>datetime'[^']*')"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<number>-?\d{1,15}(?:\.\d{1,9})?(?![\w:-]))"
    r"|(?P<bare_time>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_/]*))"
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def parse(text: str, properties: Collection[str]) -> Clause:
    """Return the filter as a predicate over a property lookup.

    Raises:
        ValueError: The filter is not valid; the message says why.
    """
    parser = _Parser(_tokens(text), properties)
    clause = parser.either()
    if parser.peek()[1]:
        raise ValueError(f"{parser.peek()[1]!r} is not expected here")
    return clause


def _tokens(text: str) -> list[Token]:
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    return tokens(text, _TOKEN)


class _Parser:
    def __init__(self, tokens: list[Token], properties: Collection[str]) -> None:
        self.tokens = [*tokens, ("end", "")]
        self.properties = properties
        self.position = self.depth = 0

    def peek(self) -> Token:
        return self.tokens[self.position]

    def take(self, expected: str | None = None) -> Token:
        token = self.peek()
        if token[0] == "end" or (expected is not None and token[1] != expected):
            raise ValueError(f"{expected or 'more'!r} is expected after {self.before()!r}")
        self.position += 1
        return token

    def before(self) -> str:
        return self.tokens[self.position - 1][1] if self.position else "the start"

    def accept(self, word: str) -> bool:
        found = self.peek() == ("name", word) or self.peek() == ("punctuation", word)
        self.position += found
        return found

    def either(self) -> Clause:
        clauses = [self.both()]
        while self.accept("or"):
            clauses.append(self.both())
        return clauses[0] if len(clauses) == 1 else lambda get: any(c(get) for c in clauses)

    def both(self) -> Clause:
        clauses = [self.term()]
        while self.accept("and"):
            clauses.append(self.term())
        return clauses[0] if len(clauses) == 1 else lambda get: all(c(get) for c in clauses)

    def term(self) -> Clause:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        try:
            return self._term()
        finally:
            self.depth -= 1

    def _term(self) -> Clause:
        if self.accept("not"):
            negated = self.term()
            return lambda get: not negated(get)
        if self.accept("("):
            clause = self.either()
            self.take(")")
            return clause
        if self.peek() == ("name", "startswith"):
            return self.starts_with()
        return self.comparison()

    def starts_with(self) -> Clause:
        self.take()
        self.take("(")
        value = self.property()
        self.take(",")
        kind, text = self.take()
        self.take(")")
        if kind != "text":
            raise ValueError("startswith requires a text in quotes")
        prefix = _literal(kind, text).lower()
        return lambda get: str(value(get) or "").lower().startswith(prefix)

    def comparison(self) -> Clause:
        value = self.property()
        word = self.take()[1]
        if word not in _COMPARE:
            raise ValueError(f"{word!r} is not a comparison")
        compare = _COMPARE[word]
        literal = _literal(*self.take())
        return lambda get: _compared(compare, value(get), literal)

    def property(self) -> Callable[[Lookup], Any]:
        kind, path = self.take()
        head, *rest = path.split("/")
        if kind != "name" or head not in self.properties:
            raise ValueError(f"{path!r} cannot be used in a filter")
        return lambda get: _descend(get(head), rest)


def _descend(value: Any, names: list[str]) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _literal(kind: str, text: str) -> Any:
    match kind, text:
        case "text", _:
            return text[1:-1].replace("''", "'")
        case "number", _:
            return float(text)
        case "time" | "bare_time", _:
            moment = datetime.fromisoformat(text.removeprefix("datetime").strip("'"))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        case "name", "true" | "false":
            return text == "true"
        case "name", "null":
            return None
    raise ValueError(f"{text!r} is not a value")


def _compared(compare: Callable[[Any, Any], bool], value: Any, literal: Any) -> bool:
    if isinstance(value, str) and isinstance(literal, str):
        return compare(value.lower(), literal.lower())
    try:
        return compare(value, literal)
    except TypeError:
        return False
