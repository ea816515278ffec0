"""Text to token ids: reading, documents, tokenizer, split, and the sequences of every training step.

The data flows `read -> Text -> Corpus -> Split -> Dataset`. Nothing is imported here, so that `choices` (what a
help page lists) costs no numpy.
"""
