"""Imported by the fork server: what nearly every step needs."""

import numpy as np  # noqa: F401
import pandas as pd  # noqa: F401
import safetensors.torch  # noqa: F401
import torch  # noqa: F401

import cfbench.worker  # noqa: F401
