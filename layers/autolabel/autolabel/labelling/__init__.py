"""From answers to pre-labels: decode, merge, choose, and the shards in which this happens."""
