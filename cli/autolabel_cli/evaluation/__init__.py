"""Evaluation: `autolabel evaluate` scores models and published runs against labels of other people."""
