"""Imports the libraries' parts that every step of a compact model uses; without the libraries, nothing."""

from contextlib import suppress

from cfbench.errors import PluginError
from cfbench_text_ldm.libraries import library

with suppress(PluginError):  # a step says what to install
    library("diffusers").AutoencoderKL, library("diffusers").UNet2DConditionModel
    library("transformers").BertModel, library("transformers").PreTrainedTokenizerFast
