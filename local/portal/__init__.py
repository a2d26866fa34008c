"""The worker portal of the embedded cloud: renders labelling jobs' own templates and takes reviewers' answers."""
