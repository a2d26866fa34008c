"""Work of operators: `autolabel status`, `redrive`, `relabel`, `stop` and `triage`."""
