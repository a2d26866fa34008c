"""Datasets for training: `autolabel export` writes published runs in common formats."""
