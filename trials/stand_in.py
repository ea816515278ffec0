"""A small kernel in place of the real one: it returns its size, and reads the processor's floating-point state."""

import _ctypes
import ctypes

STAND_IN = """
#if defined(__x86_64__)
unsigned state(void) { return __builtin_ia32_stmxcsr() & ~0x3fu; } /* without the flags of what has happened */
#else
unsigned state(void) { return 0; }
#endif
int size(void) { return SIZE; }
"""


def size_of(library: ctypes.CDLL) -> int:
    """What a stand-in returns; the library is unloaded, since one of the same name would not be read again."""
    size = int(library.size())
    _ctypes.dlclose(library._handle)
    return size
