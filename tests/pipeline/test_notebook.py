#!/usr/bin/env python3
"""From a notebook to a job: pipelines of scikit-learn through skl2onnx, as .onnx files in a job; its answers are the pipelines' own and ONNX Runtime's."""
import libraries
import notebook

libraries.need("numpy", "sklearn", "skl2onnx", "onnxruntime")
notebook.check(notebook.fitted, "scikit-learn")
