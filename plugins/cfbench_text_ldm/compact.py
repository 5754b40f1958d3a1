"""Networks from scratch, of any size: diffusers' KL autoencoder and U-Net, transformers' BERT."""

from typing import TYPE_CHECKING, Any

from torch import nn

from cfbench_nets.seeds import seeded
from cfbench_text_ldm.libraries import library

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams


def new_vae(params: "TextLdmParams", channels: int, seed: int) -> Any:
    """Return an untrained KL autoencoder for images with these channels."""
    widths = tuple(params.ae_channels * factor for factor in params.ae_mult)
    with seeded(seed, "autoencoder weights"):
        return library("diffusers").AutoencoderKL(
            in_channels=channels,
            out_channels=channels,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            block_out_channels=widths,
            layers_per_block=params.ae_blocks,
            latent_channels=params.latent_channels,
            norm_num_groups=params.groups,
        )


def new_unet(params: "TextLdmParams", latent_channels: int, text_width: int, seed: int) -> nn.Module:
    """Return an untrained U-Net whose cross-attention reads words of this width."""
    widths = tuple(params.channels * factor for factor in params.channel_mult)
    with seeded(seed, "unet weights"):
        return library("diffusers").UNet2DConditionModel(
            in_channels=latent_channels,
            out_channels=latent_channels,
            down_block_types=tuple("CrossAttnDownBlock2D" if on else "DownBlock2D" for on in params.attention),
            up_block_types=tuple("CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(params.attention)),
            block_out_channels=widths,
            layers_per_block=params.res_blocks,
            cross_attention_dim=text_width,
            attention_head_dim=params.heads,  # diffusers means the number of heads, as in Stable Diffusion v1
            norm_num_groups=params.groups,
        )


def new_bert(params: "TextLdmParams", tokenizer: Any, seed: int) -> nn.Module:
    """Return an untrained BERT for a tokenizer's vocabulary."""
    transformers = library("transformers")
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.text_width,
        num_hidden_layers=params.text_layers,
        num_attention_heads=params.text_heads,
        intermediate_size=4 * params.text_width,
        max_position_embeddings=params.token_length,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    with seeded(seed, "text encoder weights"):
        return transformers.BertModel(config, add_pooling_layer=False)
