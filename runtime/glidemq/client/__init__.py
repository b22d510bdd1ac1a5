"""What producers and observers use: queues and their events."""
