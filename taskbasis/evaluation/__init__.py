"""Scoring of image encoders, the search for α, and the protocols built on them."""
