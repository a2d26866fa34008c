"""Broken input from outside: every parser returns a good value or refuses with a reason."""
