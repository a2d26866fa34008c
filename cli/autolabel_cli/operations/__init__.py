"""Work of operators: `autolabel list`, `status`, `redrive`, `relabel`, `stop` and `triage`."""
