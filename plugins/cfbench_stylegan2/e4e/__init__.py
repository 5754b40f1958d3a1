"""e4e, an encoder of images into a generator's W+ (Tov et al., Designing an Encoder for Editing, SIGGRAPH 2021)."""
