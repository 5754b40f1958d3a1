"""Named settings of the latent diffusion: the papers', and small ones for CPUs."""

from collections.abc import Mapping
from typing import Any

#: Siddiqui et al. (Sci. Rep. 2025; MSc thesis 2023): Stable Diffusion v1.4 with RadBERT for its text encoder, both
#: fine-tuned at 512 pixels in bfloat16 by DreamBooth, batch 2, lr 5e-5: 1,200 steps of normal images, then 500 each of
#: three diseases. The autoencoder is frozen. Their text leaves open, and diffusers' training script is followed in:
#: AdamW (0.9, 0.999, weight decay 0.01, clip 1, constant rate), prior weight 1 with 100 images, no emptied prompts. The
#: prompt of the prior images is nowhere stated. The words that find each stage's cases are those of COVID-19
#: Radiography; other datasets need other `stage_words`.
#:
#: RadBERT's main branch has no safetensors: the commit is the one, of the hub's own converter, that adds them.
SD14_RADBERT: Mapping[str, Any] = {
    "weights": "CompVis/stable-diffusion-v1-4",
    "revision": "133a221b8aa7292a167afc5127cb63fb5005638b",
    "text_encoder": "StanfordAIMI/RadBERT",
    "text_revision": "f0639f7f75aaf52b7cffd86b81158f6caa5c3949",
    "size": 512,
    "token_length": 77,
    "steps": 0,
    "precision": "bfloat16",
    "stage_words": ("normal", "lung opacity", "covid", "viral pneumonia"),
    "stage_prompts": ("Normal chest scan", "Lung Opacity", "COVID 19", "Viral Pneumonia"),
    "stage_classes": ("chest x-ray",) * 4,
    "stage_steps": (1200, 500, 500, 500),
    "sampler": "pndm",
    "sample_steps": 75,
    "guidance": 4.0,
}

#: For CPUs and images of 40 to 64 pixels. On 1,401 chest phantoms of 64 pixels: 4.4 minutes of one core (autoencoder
#: 71 s, the rest 187 s), and 0.14 s a sample. It deviates in what minutes are too short for: v is predicted, the
#: learning rates take one cycle, the text encoder has two layers. A cell of the latent image spans 8 pixels, as in
#: Stable Diffusion, but holds 8 numbers: fine texture, such as the ribs of the phantom, is lost. Prompts are learnt as
#: subsets of a text's phrases, and as the dataset's words for labels, so that "no opacity" alone is understood.
QUICK: Mapping[str, Any] = {
    "ae_channels": 8,
    "ae_mult": (1, 2, 4, 4),
    "ae_blocks": 1,
    "latent_channels": 8,
    "ae_steps": 400,
    "ae_batch": 12,
    "ae_lr": 3e-3,
    "ae_ema": 0.99,
    "token_length": 16,
    "text_width": 64,
    "text_layers": 2,
    "text_heads": 4,
    "channels": 64,
    "channel_mult": (1, 2),
    "attention": (True, True),
    "res_blocks": 1,
    "heads": 4,
    "groups": 8,
    "objective": "v",
    "steps": 600,
    "batch": 32,
    "lr": 1e-3,
    "rate": "one-cycle",
    "ema": 0.99,
    "null_prompt": 0.12,
    "phrases": "subsets",
    "label_words": 0.4,
    "sample_steps": 25,
}

#: By name, as suites call them.
PRESETS: Mapping[str, Mapping[str, Any]] = {"sd14-radbert": SD14_RADBERT, "quick": QUICK}
