"""Procedural medical images whose counterfactuals are known exactly."""
