"""CLIP models: image encoders, zero-shot heads and the tiny model shipped with the package."""
