"""MicroGPT: The Art of Symmetry. A GPT reduced to one atom, and a ladder of engines that compute the same function.

>>> import microgpt
>>> run = microgpt.train(data="names", steps=20)
>>> len(run.sample(prompt="ma", count=3))
3
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microgpt.library import Run, load, resume, runs, train

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "load", "resume", "runs", "train"]


def __getattr__(name: str) -> Any:
    """The library, imported when it is first asked for: `microgpt --help` needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module 'microgpt' has no attribute {name!r}; it has {', '.join(__all__)}")
    from microgpt import library

    return getattr(library, name)


def __dir__() -> list[str]:
    """What can be had, the library included."""
    return sorted({*globals(), *__all__})
