"""A server that finds the parts of a frame that views cover: number plates and heads."""
