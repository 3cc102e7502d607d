#!/usr/bin/env python3
"""From a notebook to a job: networks of PyTorch through torch.onnx.export, as .onnx files in a job; its answers are PyTorch's own."""
import notebook

notebook.check(notebook.torch_fitted, "PyTorch")
