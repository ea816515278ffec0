"""The studio: a local web page that shows a true training, and every number of it.

Nothing is imported here: `microgpt studio --help` needs neither starlette nor numpy.
"""
