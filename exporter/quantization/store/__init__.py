"""The quantised checkpoint on disk: begun, written a matrix at a time, finished, resumed, read.

`writer.StoreWriter` is the store under way, `checkpoint.QuantizedCheckpoint` the finished one; `layout`
says what lies where. Not about how codes are found (`exporter.quantization.methods`) or in what order
(`exporter.quantization.quantize`).
"""
