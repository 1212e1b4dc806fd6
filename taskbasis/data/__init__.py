"""Suites of image-classification tasks: what they contain and how their pixels are read."""
