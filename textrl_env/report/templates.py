"""How all pages are filled in: everything escaped, a missing name is an error, filters for numbers and texts."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from textrl_env.data.text import printable
from textrl_env.report.completions import excerpt
from textrl_env.report.findings import percent, shown, signed


def environment() -> Environment:
    """Of the templates in this folder."""
    made = Environment(
        loader=PackageLoader("textrl_env.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(printable=printable, excerpt=excerpt, signed=signed, shown=shown, percent=percent)
    return made
