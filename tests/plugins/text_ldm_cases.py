"""Toy cases and a toy latent diffusion, for the tests of `text-ldm`."""

from dataclasses import replace

import torch

from cfbench.protocols import Context
from cfbench.specs import DatasetInfo
from cfbench.types import Batch
from cfbench_text_ldm.model import TextLdm
from cfbench_text_ldm.plugin import TextLdmParams

TINY = TextLdmParams(
    ae_channels=4,
    ae_mult=(1, 2),
    ae_blocks=1,
    latent_channels=2,
    ae_steps=4,
    ae_batch=4,
    ae_lr=1e-2,
    ae_ema=0.5,
    token_length=8,
    text_width=8,
    text_layers=1,
    text_heads=2,
    channels=4,
    channel_mult=(1, 2),
    attention=(True, True),
    res_blocks=1,
    heads=2,
    groups=2,
    objective="v",
    steps=4,
    batch=4,
    lr=1e-2,
    rate="one-cycle",
    ema=0.5,
    phrases="subsets",
    sample_steps=4,
)
TEXTS = ("large blob, dark ground", "small blob, dark ground", "no blob, bright ground")


class Blobs:
    """Bright squares on a ground, with texts or without."""

    def __init__(self, n, channels, side, texts=TEXTS, grades=None):
        self.ids = self.patients = tuple(f"case {i}" for i in range(n))
        self.x = torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0)) * 0.1
        for i in range(n):
            self.x[i, :, 2 : 2 + i % 5, 3 : 4 + i % 4] = 0.9
        self.labels = {} if grades is None else {"grade": torch.tensor([grades[i % len(grades)] for i in range(n)])}
        self.text = None if texts is None else tuple(texts[i % len(texts)] for i in range(n))

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        index = list(index)
        ids = tuple(self.ids[i] for i in index)
        text = None if self.text is None else tuple(self.text[i] for i in index)
        labels = {name: column[index] for name, column in self.labels.items()}
        return Batch(ids, ids, self.x[index], labels, text=text)


def info(channels, side, prompts=None):
    return DatasetInfo(channels=channels, space=(side, side), labels={}, fingerprint="blobs", prompts=prompts or {})


def context(folder, seed=1, **other):
    folder.mkdir(exist_ok=True, parents=True)
    return Context(seed=seed, folder=folder, **other)


def fitted(folder, channels=1, side=10, cases=None, **changes):
    cases = cases or Blobs(12, channels, side)
    model = TextLdm(replace(TINY, **changes), info(channels, side))
    model.fit(cases, cases, context(folder))
    return model, cases


def shaken(model):
    """Make the fitted toy's U-Net listen to words: trained for four steps, it hardly does."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.painter.parts.denoiser.parameters():
            weight.add_(0.15 * torch.randn(weight.shape, generator=random))
    return model
