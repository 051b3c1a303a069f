"""litert-torch's own export_hf, started where TensorFlow is not installed.

    python -m benchmarks.litert_torch_export --model=DIR --output_dir=OUT [its other flags]

It wants one generated schema module of TensorFlow's, which ai-edge-litert has under another name.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types


def lend_schema() -> None:
    """Put ai-edge-litert's schema where `import tensorflow...` finds it."""
    from ai_edge_litert import schema_py_generated

    for name in ("tensorflow", "tensorflow.lite", "tensorflow.lite.python"):
        package = types.ModuleType(name)
        package.__path__ = []
        package.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = package
    sys.modules["tensorflow.lite.python"].schema_py_generated = schema_py_generated  # type: ignore[attr-defined]
    sys.modules["tensorflow.lite.python.schema_py_generated"] = schema_py_generated


def main() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        lend_schema()
    import fire  # type: ignore[import-untyped]  # comes with litert-torch
    from litert_torch.generative.export_hf import export

    fire.Fire(export.export)


if __name__ == "__main__":
    main()
