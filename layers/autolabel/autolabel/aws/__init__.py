"""Adapters: the domain's ports on AWS. They turn ClientError into the domain's errors and decide nothing."""
