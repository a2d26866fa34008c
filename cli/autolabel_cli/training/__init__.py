"""Training: candidates from published datasets, in training jobs of SageMaker."""
