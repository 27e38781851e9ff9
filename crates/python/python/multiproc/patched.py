"""Importing this calls :func:`multiproc.patch`."""

from ._patch import patch

patch()
