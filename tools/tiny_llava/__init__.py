"""The builder of the embedded model's weights: scenes, questions about them, architecture and training."""
