"""Limits ahead of dispatch: what a gateway decides in memory, before it asks the server for jobs."""
