"""Network parts that first-party plugins share: blocks, U-Nets, noise schedules, samplers and a training loop."""
