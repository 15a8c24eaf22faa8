"""Exercise checks that name the mistake: one file ``cNN.py`` for each notebook, all re-exported here."""

from __future__ import annotations

import importlib
import pkgutil

from utils.checks.base import Verdict, exercise
from utils.checks.progress import number_of, progress

__all__ = ["Verdict", "exercise", "progress"]
for _module in sorted(
    module.name for module in pkgutil.iter_modules(__path__) if number_of(f"{__name__}.{module.name}")
):
    _found = importlib.import_module(f"utils.checks.{_module}")
    globals().update({name: getattr(_found, name) for name in _found.__all__})
    __all__ += _found.__all__
