"""Models of a stack: `autolabel models add`, `list`, `show`, `remove`, `calibrate` and `test`."""
