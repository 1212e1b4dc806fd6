"""The page's parts: its own files, and libraries of installed packages (Plotly; DataTables, of itables)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from taskbasis.errors import ConfigError

ASSETS = Path(__file__).parent / "assets"
MODULES = ("main", "table", "compare", "figures", "runs", "plotly")
"""The page's own modules, by the names they import each other under."""
_INSTALLED = {
    "plotly.min.js": ("plotly", "package_data/plotly.min.js"),
    "datatables.js": ("itables", "html/dt_bundle.js"),
    "datatables.css": ("itables", "html/dt_bundle.css"),
}


@cache
def asset(name: str) -> str:
    """The text of a file of the page: its own, or a library's.

    Raises:
        ConfigError: if the library is not installed.
    """
    if name not in _INSTALLED:
        return (ASSETS / name).read_text(encoding="utf-8")
    package, path = _INSTALLED[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None or not (file := Path(spec.origin).parent / path).is_file():
        raise ConfigError(f"the dashboard needs {package}: pip install 'taskbasis[dashboard]'")
    return file.read_text(encoding="utf-8")


def asset_names() -> tuple[str, ...]:
    """Every file that the page may ask for."""
    return (*_INSTALLED, "dashboard.css", *(f"{name}.js" for name in MODULES))
