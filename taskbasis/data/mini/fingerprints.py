"""Do the drawings of this machine equal those of the shipped suite?"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources

from taskbasis.data.mini.drawing import MINI_VERSION, draw_image

PROBES = 6
"""How many test images of a task are compared."""
FILE = "fingerprints.json"


def fingerprint(task: str) -> str:
    """A hash of the first few test images of a task.

    Raises:
        DataError: unknown task.
    """
    digest = hashlib.sha256()
    for index in range(PROBES):
        digest.update(draw_image(task, "test", index)[0].tobytes())
    return digest.hexdigest()[:16]


@cache
def _shipped() -> tuple[dict[str, str], str]:
    """The expected fingerprints, and what they were made with."""
    record = json.loads(resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return record["fingerprints"], ", ".join(
        f"{name} {version}" for name, version in record["made_with"].items()
    )


def drawing_changes(task: str) -> str | None:
    """Compare a few drawings of this machine with those of the shipped suite.

    Another version of Pillow, FreeType or matplotlib's fonts can move pixels; accuracies may then differ
    from the published ones.

    Returns:
        None if the drawings agree, else one line that says what differs.

    Raises:
        DataError: unknown task.
    """
    found = fingerprint(task)
    expected, made_with = _shipped()
    if found == expected.get(task):
        return None
    return (
        f"drawings of {task!r} differ from the published mini suite (version {MINI_VERSION}, drawn with "
        f"{made_with}): accuracies may differ from the published ones"
    )
