"""Score a checkpoint on held-out questions."""
