"""Reads PromQL as far as our rules use it: which series an expression needs, and which labels its result has.

Prometheus itself accepts an expression that can never give a result: a metric that does not exist, a label
that the metric lacks, two sides whose labels differ. Here these are errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser as promql

from stream_al.metrics import FAMILIES
from stream_al.metrics.family import Family

TARGET = frozenset({"job", "instance"})
"""Labels that every scraped series gets."""
Labels = frozenset[str]


def exported() -> dict[str, Family]:
    """Return every series name that the service exports, with its family."""
    found: dict[str, Family] = {}
    for family in FAMILIES:
        ends = ("_bucket", "_count", "_sum") if family.kind == "histogram" else ("",)
        found |= {family.name + end: family for end in ends}
    return found


def scraped() -> dict[str, Labels]:
    """Return every series name that a scrape gives, with its labels."""
    found = {name: TARGET | set(family.labels) for name, family in exported().items()}
    buckets = {name: labels | {"le"} for name, labels in found.items() if name.endswith("_bucket")}
    return {"up": TARGET} | found | buckets


def children(node: Any) -> list[Any]:
    """Return what an expression is made of."""
    kind = type(node).__name__
    if kind == "BinaryExpr":
        return [node.lhs, node.rhs]
    if kind == "Call":
        return list(node.args)
    if kind == "MatrixSelector":
        return [node.vector_selector]
    return [node.expr] if kind in ("AggregateExpr", "ParenExpr", "UnaryExpr") else []


def selectors(node: Any) -> Iterator[Any]:
    """Yield the selectors of an expression."""
    if type(node).__name__ == "VectorSelector":
        yield node
    for child in children(node):
        yield from selectors(child)


def aggregated(node: Any, above: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield each selector with the innermost aggregation that it stands in, or None."""
    if type(node).__name__ == "VectorSelector":
        yield node, above
    for child in children(node):
        yield from aggregated(child, node if type(node).__name__ == "AggregateExpr" else above)


def labels(node: Any, known: Mapping[str, Labels]) -> Labels | None:
    """Return the labels of an expression's result; None of a number.

    Raises
    ------
    AssertionError
        It names a series or a label that does not exist, or its sides can never match.
    """
    kind = type(node).__name__
    if kind == "VectorSelector":
        assert node.name in known, f"{node.name} does not exist"
        asked = {matcher.name for matcher in node.matchers.matchers}
        assert asked <= known[node.name], f"{node} asks for labels that {node.name} lacks"
        return known[node.name]
    if kind in ("NumberLiteral", "StringLiteral"):
        return None
    if kind == "BinaryExpr":
        return _joined(node, labels(node.lhs, known), labels(node.rhs, known))
    below = [found for child in children(node) if (found := labels(child, known)) is not None]
    if kind == "AggregateExpr":
        assert node.modifier.type == promql.AggModifierType.By, (
            f"{node}: say what is kept, not what is dropped"
        )
        kept = frozenset(node.modifier.labels)
        assert kept <= below[0], f"{node} keeps labels that are not there"
        return kept
    if kind == "Call" and node.func.name == "absent":
        return frozenset()
    return below[0] if below else None


def _joined(node: Any, left: Labels | None, right: Labels | None) -> Labels | None:
    """Return the labels of two sides together."""
    if left is None or right is None:
        return left if right is None else right
    terms = node.modifier
    if terms is None or terms.matching is None:
        # absent() has no labels: it stands for what is not there
        assert left == right or not right, f"{node}: {sorted(left)} never match {sorted(right)}"
        return left
    assert terms.matching.type == promql.LabelModifierType.Include, f"{node}: say on which labels"
    on = frozenset(terms.matching.labels)
    assert on <= left & right, f"{node} matches on labels that a side lacks"
    return on if terms.card == promql.VectorMatchCardinality.OneToOne else left


def parse(text: str) -> Any:
    """Return the tree of an expression."""
    return promql.parse(text)
