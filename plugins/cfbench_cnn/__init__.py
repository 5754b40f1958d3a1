"""A small convolutional network as judge."""
