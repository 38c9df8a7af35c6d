"""What OpenVINO computes with: the same on every processor. Its own choice differs, and with it tokens, embeddings and faults."""

import os

# Read at the first inference. With AMX, INT8 is reported to crash (openvino#37577).
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",  # its own choice is BF16 where there is such
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32,  # its default: activations that meet INT8 weights
    "ENABLE_CPU_PINNING": False,  # pinned, the first thread of every instance and server would sit on the same core
}
