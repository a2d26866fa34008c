"""Measures the quality of labels by models alone and merged, on a folder of labelled frames (`make quality`)."""
