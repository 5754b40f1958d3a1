"""Hyperplane counterfactuals: a linear probe in latent space, a calibrated distance, a move across the plane."""
