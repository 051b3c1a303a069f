"""ONNX: contrib operators for attention and integer matmuls, weights in one external data file."""
