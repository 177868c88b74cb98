"""Rows that must not be: what ends a query at one of them, whether or not anybody reads its values."""

from __future__ import annotations

from sqlglot import exp

from flowgrid.expr.tree import Expr


def unless(test: Expr, message: str, value: Expr) -> Expr:
    """The value; where the test is true, an error."""
    error = exp.func("error", exp.Literal.string(message))
    return exp.Case(ifs=[exp.If(this=test.copy(), true=error)], default=value.copy())


def never(test: Expr, message: str) -> Expr:
    """A predicate that keeps every row, and ends the query at one for which the test is true."""
    return unless(test, message, exp.true())


def is_check(predicate: Expr) -> bool:
    """Whether it is such a predicate. It is asked of the rows that it was made for and no others."""
    if not isinstance(predicate, exp.Case) or predicate.args.get("default") != exp.true():
        return False
    results = [branch.args["true"] for branch in predicate.args["ifs"]]
    return all(isinstance(one, exp.Anonymous) and one.name == "error" for one in results)
