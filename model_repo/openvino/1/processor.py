"""What OpenVINO computes with: the same on every processor. Left to it, tokens, embeddings and even crashes are the processor's."""

import os

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")  # read at the first inference; of AMX, INT8 crashes (openvino#37577)
PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",  # its own choice is BF16 where there is such
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32,  # its default: activations that meet INT8 weights
    "ENABLE_CPU_PINNING": False,  # pinned, the first thread of every instance and server would sit on the same core
}
