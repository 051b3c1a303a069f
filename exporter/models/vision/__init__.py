"""What the models do with pictures: towers and embedders, from pixels to rows beside a text's embeddings.

Each is described once over a small dialect that every runtime expresses in its own operations.
"""
