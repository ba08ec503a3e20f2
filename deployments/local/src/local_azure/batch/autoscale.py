"""A subset of Azure's autoscale formulas, evaluated as Azure documents them.

Supported are assignments, doubles, vectors of samples, times and intervals with their operators,
`?:`, min, max, avg, sum and len, time(), and the samples that count tasks and nodes. What else
Azure's language has (percentiles, strings, members of times, loads of nodes) is refused.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from local_azure.batch.error_codes import BatchError
from local_azure.batch.history import PERIOD, History, Metrics
from local_azure.batch.lexer import Token, tokens

LONGEST = 8192
DEEPEST = 30
OPTIONS = ("requeue", "terminate", "taskcompletion", "retaineddata")
TARGETS = (
    "$TargetDedicatedNodes",
    "$TargetLowPriorityNodes",
    "$TargetDedicated",
    "$TargetLowPriority",
)
_READ_ONLY = (
    "$ActiveTasks $RunningTasks $PendingTasks $SucceededTasks $FailedTasks $CurrentDedicatedNodes"
    " $CurrentLowPriorityNodes $PreemptedNodeCount $SampleNodeCount $CPUPercent $WallClockSeconds"
    " $MemoryBytes $DiskBytes $DiskReadBytes $DiskWriteBytes $DiskReadOps $DiskWriteOps"
    " $NetworkInBytes $NetworkOutBytes"
)
INTERVALS = {
    "TimeInterval_Zero": timedelta(),
    "TimeInterval_Second": timedelta(seconds=1),
    "TimeInterval_Minute": timedelta(minutes=1),
    "TimeInterval_Hour": timedelta(hours=1),
    "TimeInterval_Day": timedelta(days=1),
    "TimeInterval_Week": timedelta(weeks=1),
}
_OPTION = "$NodeDeallocationOption"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,15}(?:\.\d{1,9})?)|(?P<text>\"[^\"\n]*\")"
    r"|(?P<name>\$?[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><=|>=|==|!=|&&|\|\||[-+*/<>?:=;(),!.]))"
)
_LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))

Vector = tuple[float, ...]
Value = float | Vector | datetime | timedelta
_NAMES: Mapping[type, str] = {
    float: "double",
    tuple: "doubleVec",
    datetime: "timestamp",
    timedelta: "timeinterval",
}
_COMPARISONS: Mapping[str, Callable[..., object]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ARITHMETIC: Mapping[str, Callable[..., object]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
_LOGIC: Mapping[str, Callable[..., object]] = {
    "&&": lambda a, b: bool(a) and bool(b),
    "||": lambda a, b: bool(a) or bool(b),
}
_OPERATORS = {**_COMPARISONS, **_ARITHMETIC, **_LOGIC}
_ALLOWED: Mapping[tuple[type, type], str] = {
    (float, float): "+ - * / && || == != < <= > >=",
    (float, timedelta): "*",
    (tuple, float): "+ - * /",
    (tuple, tuple): "+ - * /",
    (timedelta, float): "* /",
    (timedelta, timedelta): "+ - == != < <= > >=",
    (timedelta, datetime): "+",
    (datetime, timedelta): "+",
    (datetime, datetime): "- == != < <= > >=",
}
"""The operators for each pair of operands, by Azure's documentation."""
_FUNCTIONS: Mapping[str, Callable[[Vector], float]] = {
    "min": lambda values: min(values, default=math.nan),
    "max": lambda values: max(values, default=math.nan),
    "avg": lambda values: math.fsum(values) / len(values) if values else math.nan,
    "sum": math.fsum,
    "len": len,
}


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The targets that a formula sets. None: unchanged."""

    dedicated: int | None = None
    spot: int | None = None
    deallocation: str = "requeue"

    def results(self, *, dedicated: int, spot: int) -> str:
        """Return the text of `autoScaleRun.results`, with the present targets if unchanged."""
        return (
            f"$TargetDedicatedNodes={dedicated if self.dedicated is None else self.dedicated};"
            f"$TargetLowPriorityNodes={spot if self.spot is None else self.spot};"
            f"$NodeDeallocationOption={self.deallocation}"
        )


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The input of a formula: the time and the metrics of its pool."""

    now: datetime
    present: Metrics = field(default_factory=dict)
    history: History = field(default_factory=History)


def evaluate(formula: str, scene: Scene) -> Targets:
    """Evaluate a formula.

    Raises:
        BatchError: AutoScalingFormulaEvaluationError, with the reason.
    """
    try:
        values = _Evaluator(_tokens(formula), scene).program()
        nodes = {name: _nodes(name, values[name]) for name in TARGETS if name in values}
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise BatchError("AutoScalingFormulaEvaluationError", Reason=error) from None
    return Targets(
        dedicated=nodes.get("$TargetDedicatedNodes", nodes.get("$TargetDedicated")),
        spot=nodes.get("$TargetLowPriorityNodes", nodes.get("$TargetLowPriority")),
        deallocation=str(values.get(_OPTION, "requeue")),
    )


def _nodes(name: str, value: Value | str) -> int:
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number of nodes")
    # Azure cuts fractions: azure-docs #95350, Azure/Batch #151.
    return max(0, min(10_000, math.floor(value)))


def _tokens(formula: str) -> list[Token]:
    if len(formula) > LONGEST:
        raise ValueError(f"the formula is longer than {LONGEST} characters")
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", formula, flags=re.DOTALL)
    return tokens(text, _TOKEN)


def combine(sign: str, left: Value, right: Value) -> Value:
    """Return the result of an operator.

    Raises:
        ValueError: The operator does not accept these operands.
    """
    if sign not in _ALLOWED.get((type(left), type(right)), "").split():
        kinds = f"{_NAMES[type(left)]} and {_NAMES[type(right)]}"
        raise ValueError(f"{sign} does not accept {kinds}")
    if isinstance(left, tuple):
        others = right if isinstance(right, tuple) else (right,) * len(left)
        if len(others) != len(left):
            raise ValueError(f"{sign} requires vectors of the same length")
        return tuple(
            float(_ARITHMETIC[sign](a, b))  # type: ignore[arg-type]
            for a, b in zip(left, others, strict=True)
        )
    result = _OPERATORS[sign](left, right)
    return result if isinstance(result, datetime | timedelta) else float(result)  # type: ignore[arg-type]


def flattened(values: Sequence[Value]) -> Vector:
    """Return a doubleVecList as one vector."""
    found: list[float] = []
    for value in values:
        if isinstance(value, datetime | timedelta):
            raise ValueError("numbers are expected, not times")  # noqa: TRY004  a bad value  an error in the formula
        found.extend(value if isinstance(value, tuple) else (value,))
    return tuple(found)


class _Evaluator:
    """A parser that computes while it reads: formulas have no side effects."""

    def __init__(self, tokens: list[Token], scene: Scene) -> None:
        self.tokens = [*tokens, ("end", "the end")]
        self.scene = scene
        self.position = self.depth = 0
        self.values: dict[str, Value | str] = {}

    def program(self) -> dict[str, Value | str]:
        while self.tokens[self.position][0] != "end":
            if not self.accept(";"):
                self.assignment()
        if not any(name in self.values for name in TARGETS):
            raise ValueError("the formula sets no target for nodes")
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
        if kind != "name" or name in _READ_ONLY.split() or name in INTERVALS:
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

    def expression(self) -> Value:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("the formula is nested too deeply")
        condition = self.binary(0)
        if self.accept("?"):
            chosen = self.expression()
            self.take(":")
            other = self.expression()
            condition = chosen if _double(condition) else other
        self.depth -= 1
        return condition

    def binary(self, level: int) -> Value:
        if level == len(_LEVELS):
            return self.unary()
        value = self.binary(level + 1)
        while sign := self.accept(*_LEVELS[level]):
            value = combine(sign, value, self.binary(level + 1))
        return value

    def unary(self) -> Value:
        signs = []
        while sign := self.accept("-", "!"):
            signs.append(sign)
        value = self.primary()
        for sign in reversed(signs):
            if sign == "-" and isinstance(value, timedelta):
                value = -value
            else:
                value = -_double(value) if sign == "-" else float(not _double(value))
        return value

    def primary(self) -> Value:
        if self.accept("("):
            value = self.expression()
            self.take(")")
            return value
        kind, text = self.take()
        if kind == "number":
            return float(text)
        if kind != "name":
            raise ValueError(f"{text!r} is not expected here")
        if self.accept("."):
            return self.sampled(text)
        return self.call(text) if self.accept("(") else self.variable(text)

    def variable(self, name: str) -> Value:
        value = self.values.get(name, INTERVALS.get(name, self.scene.present.get(name)))
        if value is None or isinstance(value, str):
            raise ValueError(f"{name!r} is not known here")
        return float(value) if isinstance(value, int) else value

    def arguments(self) -> list[Value]:
        """Read the arguments after the opening parenthesis."""
        found: list[Value] = []
        while not self.accept(")"):
            if found:
                self.take(",")
            found.append(self.expression())
        return found

    def call(self, name: str) -> Value:
        if name == "time":
            return self.time()
        if name not in _FUNCTIONS:
            raise ValueError(f"the function {name!r} is not supported by the local service")
        return float(_FUNCTIONS[name](flattened(self.arguments())))

    def time(self) -> datetime:
        if self.accept(")"):
            return self.scene.now
        kind, text = self.take()
        self.take(")")
        if kind != "text":
            raise ValueError("time() requires a time in quotes")
        moment = datetime.fromisoformat(text.strip('"'))
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def sampled(self, metric: str) -> Value:
        """Read `GetSample(…)` or `GetSamplePercent(…)` after `$Metric.`."""
        method = self.take()[1]
        self.take("(")
        arguments = self.arguments()
        if metric not in self.scene.present:
            raise ValueError(f"samples of {metric!r} are not supported by the local service")
        if method == "GetSamplePercent":
            return self.percent(metric, arguments)
        if method != "GetSample" or not arguments:
            raise ValueError(f"the method {method!r} is not supported by the local service")
        if isinstance(arguments[0], float):
            (count,) = (_double(argument) for argument in arguments)
            return self.scene.history.latest(metric, int(count), now=self.scene.now)
        least = _double(arguments.pop()) if isinstance(arguments[-1], float) else 0
        if (available := self.percent(metric, arguments)) < least:
            raise ValueError(f"{available:.0f} percent of the samples of {metric} are available")
        return self.samples(metric, arguments)

    def samples(self, metric: str, bounds: Sequence[Value]) -> Vector:
        start, end = self.span(bounds)
        return self.scene.history.between(metric, start=start, end=end, now=self.scene.now)

    def percent(self, metric: str, bounds: Sequence[Value]) -> float:
        start, end = self.span(bounds)
        most = max(1, (end - start) // PERIOD)
        return min(100.0, 100 * len(self.samples(metric, bounds)) / most)

    def span(self, bounds: Sequence[Value]) -> tuple[datetime, datetime]:
        """Return start and end from one or two bounds, each a time or an age, in any order."""
        if len(bounds) not in (1, 2):
            raise ValueError("samples are taken since a time, or between two")
        moments = [self.moment(bound) for bound in bounds]
        return min(moments), max(moments) if len(moments) > 1 else self.scene.now

    def moment(self, bound: Value) -> datetime:
        if isinstance(bound, timedelta):
            return self.scene.now - bound
        if isinstance(bound, datetime):
            return bound
        raise ValueError("a time or an interval is expected")


def _double(value: Value) -> float:
    if not isinstance(value, float):
        raise ValueError(f"a double is expected, not a {_NAMES[type(value)]}")  # noqa: TRY004  a bad value
    return value
