"""The browser of a dataset: a page with all frames, to filter and sort, and its tracks."""
