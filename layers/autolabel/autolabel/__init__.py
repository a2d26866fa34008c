"""autolabel: the domain of drive labelling, and in `aws` the thin adapters that connect it."""
