"""The dataset of a run: assembly for verification, then publication."""
