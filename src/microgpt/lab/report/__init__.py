"""Answers to a question about a store, and the page that has them all."""
