"""One training: the request, the loop, held-out loss, checkpoints, run folders, samples.

Nothing is imported here, so that `request` (what a help page lists) costs no numpy.
"""
