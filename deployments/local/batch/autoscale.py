"""Autoscale formulas: assignments, numbers, time(), comparisons, `?:`, min and max.

What else Azure's language has (samples, functions, strings) is refused, never guessed.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from deployments.local.batch.errors import BatchError
from deployments.local.batch.tokens import Token, tokens

LONGEST = 8192
DEEPEST = 30
OPTIONS = ("requeue", "terminate", "taskcompletion", "retaineddata")
TARGETS = ("$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$TargetDedicated")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,15}(?:\.\d{1,9})?)|(?P<text>\"[^\"\n]*\")"
    r"|(?P<name>\$?[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><=|>=|==|!=|&&|\|\||[-+*/<>?:=;(),!]))"
)
_BINARY: tuple[Mapping[str, Callable[[float, float], float]], ...] = (
    {"||": lambda a, b: float(bool(a) or bool(b))},
    {"&&": lambda a, b: float(bool(a) and bool(b))},
    {"==": operator.eq, "!=": operator.ne},
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
)
_Value = float


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a formula asks for; None is left as it is."""

    dedicated: int | None = None
    spot: int | None = None
    deallocation: str = "requeue"

    def results(self, *, dedicated: int, spot: int) -> str:
        """As `autoScaleRun.results` says it, with the present targets where none is set."""
        return (
            f"$TargetDedicatedNodes={dedicated if self.dedicated is None else self.dedicated};"
            f"$TargetLowPriorityNodes={spot if self.spot is None else self.spot};"
            f"$NodeDeallocationOption={self.deallocation}"
        )


def evaluate(formula: str, now: datetime) -> Targets:
    """Raises BatchError AutoScalingFormulaEvaluationError with the reason."""
    try:
        values = _Evaluator(_tokens(formula), now).program()
        nodes = {name: _nodes(name, values[name]) for name in TARGETS if name in values}
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise BatchError("AutoScalingFormulaEvaluationError", Reason=error) from None
    return Targets(
        dedicated=nodes.get("$TargetDedicatedNodes", nodes.get("$TargetDedicated")),
        spot=nodes.get("$TargetLowPriorityNodes"),
        deallocation=str(values.get("$NodeDeallocationOption", "requeue")),
    )


def _nodes(name: str, value: float | str) -> int:
    if isinstance(value, str) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number of nodes")
    return max(0, min(10_000, math.ceil(value)))


def _tokens(formula: str) -> list[Token]:
    if len(formula) > LONGEST:
        raise ValueError(f"the formula is longer than {LONGEST} characters")
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", formula, flags=re.DOTALL)
    return tokens(text, _TOKEN)


class _Evaluator:
    """Walks the tokens and computes as it goes; a formula has no side effects."""

    def __init__(self, tokens: list[Token], now: datetime) -> None:
        self.tokens = [*tokens, ("end", "the end")]
        self.now = now
        self.position = self.depth = 0
        self.values: dict[str, float | str] = {}

    def program(self) -> dict[str, float | str]:
        while self.tokens[self.position][0] != "end":
            if not self.accept(";"):
                self.assignment()
        if not any(name in self.values for name in TARGETS):
            raise ValueError("the formula sets no target of nodes")
        return self.values

    def take(self, expected: str | None = None) -> Token:
        kind, text = self.tokens[self.position]
        if kind == "end" or (expected is not None and text != expected):
            raise ValueError(f"{expected or 'a value'!r} is expected, not {text!r}")
        self.position += 1
        return kind, text

    def accept(self, *signs: str) -> str | None:
        kind, text = self.tokens[self.position]
        if kind != "sign" or text not in signs:
            return None
        self.position += 1
        return text

    def assignment(self) -> None:
        kind, name = self.take()
        if kind != "name" or (name.startswith("$") and name not in (*TARGETS, _OPTION)):
            raise ValueError(f"{name!r} cannot be assigned to")
        self.take("=")
        self.values[name] = self.option() if name == _OPTION else self.expression()
        if self.tokens[self.position][0] != "end":
            self.take(";")

    def option(self) -> str:
        text = self.take()[1].lower()
        if text not in OPTIONS:
            raise ValueError(f"{_OPTION} must be one of {', '.join(OPTIONS)}")
        return text

    def expression(self) -> _Value:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("the formula is nested too deeply")
        condition = self.binary(0)
        if self.accept("?"):
            chosen = self.expression()
            self.take(":")
            other = self.expression()
            condition = chosen if condition else other
        self.depth -= 1
        return condition

    def binary(self, level: int) -> _Value:
        if level == len(_BINARY):
            return self.unary()
        value = self.binary(level + 1)
        while sign := self.accept(*_BINARY[level]):
            value = float(_BINARY[level][sign](value, self.binary(level + 1)))
        return value

    def unary(self) -> _Value:
        signs = []
        while sign := self.accept("-", "!"):
            signs.append(sign)
        value = self.primary()
        for sign in reversed(signs):
            value = -value if sign == "-" else float(not value)
        return value

    def primary(self) -> _Value:
        if self.accept("("):
            value = self.expression()
            self.take(")")
            return value
        kind, text = self.take()
        if kind == "number":
            return float(text)
        if kind == "name":
            return self.call(text) if self.accept("(") else self.variable(text)
        raise ValueError(f"{text!r} is not expected here")

    def variable(self, name: str) -> _Value:
        value = self.values.get(name)
        if isinstance(value, float):
            return value
        raise ValueError(f"{name!r} is not known here")

    def call(self, name: str) -> _Value:
        if name == "time":
            return self.time()
        if name not in ("min", "max"):
            raise ValueError(f"the function {name!r} is not supported by the local service")
        arguments = [self.expression()]
        while self.accept(","):
            arguments.append(self.expression())
        self.take(")")
        return min(arguments) if name == "min" else max(arguments)

    def time(self) -> _Value:
        if self.accept(")"):
            return self.now.timestamp()
        kind, text = self.take()
        self.take(")")
        if kind != "text":
            raise ValueError("time() takes a time in quotes")
        moment = datetime.fromisoformat(text.strip('"'))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_OPTION = "$NodeDeallocationOption"
