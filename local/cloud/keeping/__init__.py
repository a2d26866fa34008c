"""Keep the state of a cloud, so that the next one of the same folder goes on with it."""
