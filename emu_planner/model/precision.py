"""Products in full float32, whatever the process has allowed. Knows no model.

TF32 and bfloat16 keep 10 and 7 bits of 23: enough for a picture, not for telling the nearest of 131,072
codes. torch keeps these settings for the whole process, so they are changed only while somebody needs
it, and the last one to leave puts them back.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SETTINGS = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]
    torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
)
_lock = threading.Lock()
_users = 0
_before: list[str] = []


@contextmanager
def exact_float32(device_type: str) -> Iterator[None]:
    """Within it, matrix products and convolutions of float32 are float32; autocast is off."""
    global _users
    with _lock:
        if _users == 0:
            _before[:] = [setting.fp32_precision for setting in _SETTINGS]
            for setting in _SETTINGS:
                setting.fp32_precision = "ieee"
        _users += 1
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for setting, value in zip(_SETTINGS, _before, strict=True):
                    setting.fp32_precision = value
