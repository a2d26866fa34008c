"""Trains the last layers of a served YOLOX network by the container contract of SageMaker's training jobs."""
