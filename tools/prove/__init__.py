"""Explores the completion protocol: every order of calls to AWS, with every place of every fault."""
