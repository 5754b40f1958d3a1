"""MedMNIST: the official binary and ordinal sets, verified by their published checksums."""
