"""The `autolabel` command: what fleets, operators and ML engineers do from a terminal."""

__version__ = "0.1.0"
