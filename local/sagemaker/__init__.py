"""A stand-in for Amazon SageMaker on one machine: asynchronous endpoints and Ground Truth jobs.

It talks to the rest of the cloud (S3, SNS, IAM, events) through the narrow ports of `ports`, runs real model servers
by the container contract, and answers boto3 in SageMaker's own wire formats through `service`.
"""
