"""FlowGrid: a distributed dataflow batch engine for Python. `connect()` is where a program starts.

Names load when they are first used (PEP 562): ``import flowgrid`` costs nothing, and a cluster can start
before the libraries that plan a query are imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowgrid.api.column import (
        Column as Column,
    )
    from flowgrid.api.concatenation import (
        concat as concat,
    )
    from flowgrid.api.dataframe import (
        DataFrame as DataFrame,
    )
    from flowgrid.api.functions import (
        any_value as any_value,
    )
    from flowgrid.api.functions import (
        approx_n_unique as approx_n_unique,
    )
    from flowgrid.api.functions import (
        array_agg as array_agg,
    )
    from flowgrid.api.functions import (
        avg as avg,
    )
    from flowgrid.api.functions import (
        coalesce as coalesce,
    )
    from flowgrid.api.functions import (
        col as col,
    )
    from flowgrid.api.functions import (
        concat_str as concat_str,
    )
    from flowgrid.api.functions import (
        corr as corr,
    )
    from flowgrid.api.functions import (
        count as count,
    )
    from flowgrid.api.functions import (
        dense_rank as dense_rank,
    )
    from flowgrid.api.functions import (
        first as first,
    )
    from flowgrid.api.functions import (
        greatest as greatest,
    )
    from flowgrid.api.functions import (
        lag as lag,
    )
    from flowgrid.api.functions import (
        last as last,
    )
    from flowgrid.api.functions import (
        lead as lead,
    )
    from flowgrid.api.functions import (
        least as least,
    )
    from flowgrid.api.functions import (
        list as list,
    )
    from flowgrid.api.functions import (
        lit as lit,
    )
    from flowgrid.api.functions import (
        max as max,
    )
    from flowgrid.api.functions import (
        mean as mean,
    )
    from flowgrid.api.functions import (
        median as median,
    )
    from flowgrid.api.functions import (
        min as min,
    )
    from flowgrid.api.functions import (
        n_unique as n_unique,
    )
    from flowgrid.api.functions import (
        ntile as ntile,
    )
    from flowgrid.api.functions import (
        quantile as quantile,
    )
    from flowgrid.api.functions import (
        rank as rank,
    )
    from flowgrid.api.functions import (
        row_number as row_number,
    )
    from flowgrid.api.functions import (
        sql_expr as sql_expr,
    )
    from flowgrid.api.functions import (
        std as std,
    )
    from flowgrid.api.functions import (
        string_agg as string_agg,
    )
    from flowgrid.api.functions import (
        struct as struct,
    )
    from flowgrid.api.functions import (
        sum as sum,
    )
    from flowgrid.api.functions import (
        var as var,
    )
    from flowgrid.api.functions import (
        when as when,
    )
    from flowgrid.api.grouped import (
        GroupedDataFrame as GroupedDataFrame,
    )
    from flowgrid.api.session import (
        Session as Session,
    )
    from flowgrid.api.session import (
        connect as connect,
    )
    from flowgrid.api.udf import (
        udf as udf,
    )
    from flowgrid.errors import (
        ColumnNotFoundError as ColumnNotFoundError,
    )
    from flowgrid.errors import (
        ConfigError as ConfigError,
    )
    from flowgrid.errors import (
        ConnectError as ConnectError,
    )
    from flowgrid.errors import (
        FlowGridError as FlowGridError,
    )
    from flowgrid.errors import (
        InputError as InputError,
    )
    from flowgrid.errors import (
        JobCancelledError as JobCancelledError,
    )
    from flowgrid.errors import (
        JobError as JobError,
    )
    from flowgrid.errors import (
        NoExecutorsError as NoExecutorsError,
    )
    from flowgrid.errors import (
        OutOfMemoryError as OutOfMemoryError,
    )
    from flowgrid.errors import (
        OutputBusyError as OutputBusyError,
    )
    from flowgrid.errors import (
        OutputError as OutputError,
    )
    from flowgrid.errors import (
        OutputExistsError as OutputExistsError,
    )
    from flowgrid.errors import (
        PlanError as PlanError,
    )
    from flowgrid.errors import (
        SchemaMismatchError as SchemaMismatchError,
    )
    from flowgrid.errors import (
        SqlSyntaxError as SqlSyntaxError,
    )
    from flowgrid.errors import (
        TypeMismatchError as TypeMismatchError,
    )
    from flowgrid.errors import (
        UserCodeError as UserCodeError,
    )

__all__ = [
    "Column",
    "ColumnNotFoundError",
    "ConfigError",
    "ConnectError",
    "DataFrame",
    "FlowGridError",
    "GroupedDataFrame",
    "InputError",
    "JobCancelledError",
    "JobError",
    "NoExecutorsError",
    "OutOfMemoryError",
    "OutputBusyError",
    "OutputError",
    "OutputExistsError",
    "PlanError",
    "SchemaMismatchError",
    "Session",
    "SqlSyntaxError",
    "TypeMismatchError",
    "UserCodeError",
    "any_value",
    "approx_n_unique",
    "array_agg",
    "avg",
    "coalesce",
    "col",
    "concat",
    "concat_str",
    "connect",
    "corr",
    "count",
    "dense_rank",
    "first",
    "greatest",
    "lag",
    "last",
    "lead",
    "least",
    "list",
    "lit",
    "max",
    "mean",
    "median",
    "min",
    "n_unique",
    "ntile",
    "quantile",
    "rank",
    "row_number",
    "sql_expr",
    "std",
    "string_agg",
    "struct",
    "sum",
    "udf",
    "var",
    "when",
]

_HOMES = {
    "Column": "flowgrid.api.column",
    "DataFrame": "flowgrid.api.dataframe",
    "GroupedDataFrame": "flowgrid.api.grouped",
    "Session": "flowgrid.api.session",
    "concat": "flowgrid.api.concatenation",
    "connect": "flowgrid.api.session",
    "udf": "flowgrid.api.udf",
}
"""Where names live that are neither errors nor functions of expressions."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'flowgrid' has no attribute {name!r}")
    home = "flowgrid.errors" if name.endswith("Error") else "flowgrid.api.functions"
    found: object = getattr(import_module(_HOMES.get(name, home)), name)
    globals()[name] = found
    return found


def __dir__() -> Iterable[str]:
    return __all__
