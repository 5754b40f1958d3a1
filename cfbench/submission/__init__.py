"""Submission: a finished run as one file that can be handed in, checked by others, and shown with a badge.

Whoever reads a bundle did not make it: every byte is taken for hostile until it is checked.
"""
