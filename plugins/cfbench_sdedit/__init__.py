"""SDEdit under words: an image is noised part of the way, denoised as something else, and the difference is the map."""
