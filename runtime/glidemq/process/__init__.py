"""The processes of a cell, as the supervisor forks them: one gateway, and actors that run the user's code."""
