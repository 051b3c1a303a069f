"""Pictures on their way into a model: read, scaled and cut as the release says, numpy and Pillow alone."""
