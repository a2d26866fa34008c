"""The `autolabel` command: what fleets, operators and ML engineers do from a terminal."""
