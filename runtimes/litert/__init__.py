"""The LiteRT driver: `.tflite` and `.litertlm` files through ai_edge_litert's CompiledModel.

Not about LiteRT-LM's engine, which has a tokenizer, templates and sampling of its own.
"""
