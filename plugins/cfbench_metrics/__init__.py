"""The metrics of the papers' tables, and those that their tables lack."""
