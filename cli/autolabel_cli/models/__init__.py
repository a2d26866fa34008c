"""`autolabel models`: bringing models to a stack, looking at them, trying them and taking them away."""
