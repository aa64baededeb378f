"""How a camera runs its models: ONNX Runtime on one thread, since the other cores encode video."""

from __future__ import annotations

from pathlib import Path

import onnxruntime


def one_thread_session(model: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
