"""Reading many small things and bounded JSON: below everything else."""
