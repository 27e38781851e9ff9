"""The programs of a tutorial on ``multiprocessing``, unchanged but for their import: ``python -m multiproc.demo``."""
