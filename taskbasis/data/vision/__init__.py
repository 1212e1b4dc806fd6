"""The twenty real vision tasks of the paper and their control: what, where from, and how cut.

``tasks/<name>.yaml`` says everything that is particular to one dataset: class names, prompts, sizes and
sources. The other files hold for all of them; ``readers/`` has one file per kind of source.
"""

from taskbasis.data.vision.suite import VisionSuite

__all__ = ["VisionSuite"]
