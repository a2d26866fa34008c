"""How good the labels are: models alone and merged, on a folder of labelled frames (`make quality LABELS=…`)."""
