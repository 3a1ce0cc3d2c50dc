"""In which type networks calculate while they are trained and judged."""

from __future__ import annotations

import torch


def working_type(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor has instructions for it, float32 where it would imitate them.

    An imitation is many times slower than float32.
    """
    if device.type == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        asked = "_is_mkldnn_bf16_supported"
        has_it = hasattr(torch.ops.mkldnn, asked) and getattr(torch.ops.mkldnn, asked)()
    return torch.bfloat16 if has_it else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """What is slow runs in the device's ``working_type``; weights stay in float32."""
    dtype = working_type(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
