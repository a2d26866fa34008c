"""`make loop`: the loop that learns, whole, on generated drives in the embedded cloud."""
