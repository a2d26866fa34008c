"""A stand-in for Amazon SageMaker on one machine: asynchronous endpoints, Ground Truth jobs, training jobs.

It reaches the rest of the cloud (S3, SNS, IAM, events) through the narrow interfaces of `ports`. It runs real model
servers by the container contract, and answers boto3 in SageMaker's wire formats (`service`).

Rooms, top down: ground_truth, hosting and training, which do not know each other;
async_inference, which hosting uses, and containers.
"""
