"""Sentinels: trivial explanations with known properties, always in the table."""
