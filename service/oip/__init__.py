"""The Open Inference Protocol (KServe v2): its tensors and its routes below /v2."""
