"""A page that compares runs: served while a sweep goes on, or written as one file."""
