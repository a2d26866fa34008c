"""Labelling jobs: tasks, the annotators and reviewers that answer them, consolidation, output files."""
