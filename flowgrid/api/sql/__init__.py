"""SQL text bound to logical nodes; `bind` is the way in."""

from flowgrid.api.sql.text import bind

__all__ = ["bind"]
