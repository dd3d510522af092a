"""The files of workflows/ as modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

WORKFLOWS = Path(__file__).parent.parent / "workflows"


def loaded(name: str) -> ModuleType:
    """A file of workflows/ by its name without ending."""
    spec = importlib.util.spec_from_file_location(name, WORKFLOWS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
