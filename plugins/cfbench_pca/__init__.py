"""PCA (eigen-images): the quick linear baseline, and the model of a small generator plugin."""
