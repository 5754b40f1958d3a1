"""Published checkpoints of StyleGAN2 and e4e in the widely used PyTorch layouts, as weights of this generator."""
