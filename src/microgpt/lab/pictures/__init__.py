"""Plots, and their style."""
