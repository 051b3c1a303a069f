"""Driver of ONNX artifacts: ONNX Runtime on the CPU."""
