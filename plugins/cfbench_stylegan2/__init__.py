"""StyleGAN2 with the e4e encoder: the baseline generator."""
