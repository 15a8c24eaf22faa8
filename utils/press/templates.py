"""Page templates: fills the HTML of `slides/theme/` (jinja2, everything escaped), its styles and scripts inside."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from utils.files import ROOT

THEME = ROOT / "slides" / "theme"


def render(name: str, **values: Any) -> str:
    """Return a page: the template ``name`` of the theme with its values.

    Every value is escaped. What is finished HTML already is marked ``|safe`` in the template, where a reader sees it.

    Raises:
        jinja2.UndefinedError: the template asks for a value that was not given.
    """
    return _environment().get_template(name).render(values)


def inline(*names: str) -> str:
    """Return files of the theme as one text, for the <style> or <script> of a page that asks for no other file."""
    texts = [(THEME / name).read_text(encoding="utf-8") for name in names]
    # the end of a script inside a script would end the page's own
    return "\n".join(texts).replace("</script", "<\\/script")


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(THEME)
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.globals["inline"] = inline
    return made
