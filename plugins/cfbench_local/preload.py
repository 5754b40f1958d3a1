"""Imported by the fork server: what nearly every step needs. Nothing here may touch a GPU or start a thread pool."""

import pandas as pd  # noqa: F401
import pyarrow.parquet  # noqa: F401
import torch  # noqa: F401

import cfbench.steps
import cfbench.worker  # noqa: F401
