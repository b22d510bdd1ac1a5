"""Actors: objects with one loop each, started together and stopped together by the cell that owns them."""
