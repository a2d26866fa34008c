"""What comes from outside, bent and broken: every parser gives a good value or refuses with a reason."""
