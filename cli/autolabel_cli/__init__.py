"""The `autolabel` command, with which fleets, operators and ML engineers work from a terminal."""

__version__ = "0.1.0"
