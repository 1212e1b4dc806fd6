"""``python -m taskbasis.data.mini`` rewrites the shipped fingerprints after a change of the drawings."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

from taskbasis.data.mini.drawing import MINI_VERSION
from taskbasis.data.mini.fingerprints import FILE, fingerprint
from taskbasis.data.mini.tasks import CONTROL, TASKS

MADE_WITH = ("pillow", "matplotlib", "numpy", "scikit-learn")


def main() -> None:
    """Write the fingerprints of this machine's drawings beside this file."""
    record = {
        "mini_version": MINI_VERSION,
        "made_with": {name: metadata.version(name) for name in MADE_WITH},
        "fingerprints": {spec.name: fingerprint(spec.name) for spec in (*TASKS, CONTROL)},
    }
    Path(__file__).with_name(FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
