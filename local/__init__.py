"""The embedded cloud: everything that lets the project run whole on one machine."""
