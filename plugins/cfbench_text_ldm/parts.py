"""What a latent diffusion is made of: autoencoder, text encoder, U-Net, tokens, schedule; in folders as diffusers'."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cfbench_nets.objective import Objective, clean, residual
from cfbench_text_ldm.libraries import library
from cfbench_text_ldm.stock import TEXT, TOKENS, UNET, VAE
from cfbench_text_ldm.words import Words


class Denoiser(nn.Module):
    """U-Net and text encoder, which learn together."""

    unet: Any
    text: Any

    def __init__(self, unet: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.unet, self.text = unet, text

    def read(self, tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b l e"]:
        """Return the text encoder's last hidden states; every position takes part, the padding too."""
        return self.text(input_ids=tokens).last_hidden_state

    def forward(
        self, z_t: Float[Tensor, "b c h w"], t: Int[Tensor, " b"], words: Float[Tensor, "b l e"]
    ) -> Float[Tensor, "b c h w"]:
        """Return what the U-Net predicts of noisy latents under words."""
        return self.unet(z_t, t, encoder_hidden_states=words).sample


@dataclass
class Parts:
    """A latent diffusion, complete."""

    vae: Any
    denoiser: Denoiser
    words: Words
    alpha_bar: Float[Tensor, " T"]
    objective: Objective

    def to(self, device: str) -> "Parts":
        """Move the networks, ready for use."""
        self.vae.requires_grad_(requires_grad=False)
        for network in (self.vae, self.denoiser):
            network.to(device).eval()
        return self

    def noise_in(self, z_t: Tensor, predicted: Tensor, t: int) -> Tensor:
        """Return the epsilon that a prediction at step t means."""
        if self.objective == "epsilon":
            return predicted
        level = self.alpha_bar[t]
        return residual(z_t, clean(self.objective, z_t, predicted, level), level)

    def save(self, folder: Path) -> None:
        """Write each network with its configuration (safetensors, JSON), and the tokenizer, as diffusers does."""
        self.vae.save_pretrained(folder / VAE, safe_serialization=True)
        self.denoiser.unet.save_pretrained(folder / UNET, safe_serialization=True)
        self.denoiser.text.save_pretrained(folder / TEXT)
        self.words.tokenizer.save_pretrained(folder / TOKENS)


def load_vae(folder: Path) -> Any:
    """Return the KL autoencoder in a folder."""
    return library("diffusers").AutoencoderKL.from_pretrained(folder, **_diffusers())


def load_unet(folder: Path) -> nn.Module:
    """Return the U-Net in a folder."""
    return library("diffusers").UNet2DConditionModel.from_pretrained(folder, **_diffusers())


def load_text(folder: Path) -> nn.Module:
    """Return the text encoder in a folder, a BERT or Stable Diffusion's own CLIP; no other file than safetensors."""
    transformers = library("transformers")
    kind = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    same: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": torch.float32}
    if kind == "bert":  # its pooling layer is not used, and a file may lack it
        return transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, **same)
    if kind == "clip_text_model":
        return transformers.CLIPTextModel.from_pretrained(folder, **same)
    return transformers.AutoModel.from_pretrained(folder, **same)


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer in a folder."""
    return library("transformers").AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _diffusers() -> dict[str, Any]:
    # Without low_cpu_mem_usage diffusers asks for the library accelerate.
    return {
        "local_files_only": True,
        "use_safetensors": True,
        "low_cpu_mem_usage": False,
        "torch_dtype": torch.float32,
    }
