"""The engine `fused`: the whole step of a GPT in one C kernel, compiled for its sizes on first use."""

from typing import Final

MOST_THREADS: Final = 64  # each has a place in the kernel's memory
