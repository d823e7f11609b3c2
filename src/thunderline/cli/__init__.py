"""Hands: the command line."""
