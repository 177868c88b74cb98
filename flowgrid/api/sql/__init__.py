"""SQL text bound to logical nodes; `bind` is the way in."""

from flowgrid.api.sql.binder import bind

__all__ = ["bind"]
