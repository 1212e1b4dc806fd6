"""taskbasis: the experiment framework for task vector bases (arXiv 2502.01015)."""

__version__ = "0.1.0"
