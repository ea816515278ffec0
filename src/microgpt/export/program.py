"""`.py`: the reference with trained weights inside, one file that writes on the standard library alone."""

import ast
import base64
import json
import textwrap
from pathlib import Path
from typing import Final

from microgpt import symmetry
from microgpt import variations as defined
from microgpt.data.tokenizer import Tokenizer
from microgpt.export.huggingface import CODE, PAIRS
from microgpt.model.settings import variations
from microgpt.outputs import BANNER
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.sample import usual_temperature

_ALONE: Final = '''
# A trained model ------------------------------------------------------------------------------------------------------

import array, base64, bisect, itertools, os, unicodedata

CONFIG = {config}({settings})
CHARACTERS = {characters}
{tokens}
KIND = {kind}
WEIGHTS = """
{weights}
"""  # matrix after matrix as `shapes` names them, row by row, in little-endian float64

def trained() -> GPT:
    """The model with its trained weights, as floats: they need no graph to write."""
    numbers = array.array("d", base64.b64decode(WEIGHTS))
    if sys.byteorder == "big":
        numbers.byteswap()
    each = iter(numbers)
    known = {shapes}(CONFIG, len(TOKENS) + 1).items()
    return {model}(CONFIG, {{name: [[next(each) for _ in range(n)] for _ in range(m)] for name, (m, n) in known}})

def write(model: GPT, prompt: str, stream: random.Random, temperature: float, length: int) -> str:
    """A document, which the model ends itself; or so many characters of running text."""
    running, bos = KIND == "windows", len(TOKENS)
    text, told = encode(prompt), prompt
    waiting = (text or [first()])[-CONFIG.ctx:] if running else [bos, *text]
    numbers = iter([stream.random() for _ in range(length - len(prompt) if running else CONFIG.ctx - len(text))])
    seen, past, scores = [], Past(), []
    while len(told) < length if running else len(text) < CONFIG.ctx:
        for token in waiting:
            scores = model.logits(token, len(seen), past)
            seen.append(token)
        scores = scores[:bos] if running else scores
        peak, least = max(scores), temperature or 5e-324  # at 0 the likeliest alone is left
        chances = softmax([0.0 if score == peak else (score - peak) / least for score in scores])
        sums = list(itertools.accumulate(chances))
        token = bisect.bisect(sums, next(numbers) * sums[-1])
        if token == bos:
            break
        text.append(token)
        told += TOKENS[token]
        waiting = [token]
        if len(seen) == CONFIG.ctx:  # running text goes on from the latter half of what it saw
            waiting, seen, past = [*seen[CONFIG.ctx - CONFIG.ctx // 2:], token], [], Past()
    return told[:max(length, len(prompt))] if running else told  # the last token may reach beyond the length

def first() -> int:
    return next((CHARACTERS.index(mark) for mark in "\\n " if mark in CHARACTERS), 0)

def sampler() -> None:
    parser = argparse.ArgumentParser(description="Write text with a trained model.")
    parser.add_argument("--prompt", default="")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--temperature", type=float, default={temperature})
    parser.add_argument("--length", type=int, default=256, help="characters of running text (documents end themselves)")
    parser.add_argument("--seed", type=int, default=None)
    chosen = parser.parse_args(){normalized}
    unknown = sorted(set(chosen.prompt) - set(CHARACTERS))
    full = not unknown and KIND != "windows" and len(encode(chosen.prompt)) >= CONFIG.ctx
    if unknown or full or not 0 <= chosen.temperature < math.inf:
        parser.error(f"the prompt has unknown characters: {{unknown}}" if unknown else
                     f"expected a temperature of 0 or more and a prompt of fewer than {{CONFIG.ctx}} {unit}")
    model, stream = trained(), random.Random(chosen.seed)
    for number in range(chosen.count):
        between = "\\n" if number and KIND != "lines" else ""
        say(between + write(model, chosen.prompt, stream, chosen.temperature, chosen.length))

def say(text: str) -> None:
    """Print what standard output can show, on a terminal nothing that steers it. Without it there is no more to do."""
    try:
        if sys.stdout.isatty():
            text = "\\n".join(line if line.isprintable() else repr(line) for line in text.split("\\n"))
        sys.stdout.reconfigure(errors="replace")
        print(text, flush=True)
    except (BrokenPipeError, AttributeError):  # nobody reads it any more; or it is closed, and so None
        os._exit(0)
    except OSError as error:
        print(f"standard output: {{error}}", file=sys.stderr)
        os._exit(5)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sampler()
'''

_VARIED: Final = """
# How it varies --------------------------------------------------------------------------------------------------------

"""

_NORMALIZED: Final = """
    chosen.prompt = unicodedata.normalize("NFC", chosen.prompt)  # as the training text was"""


_CHARACTERS: Final = """TOKENS = CHARACTERS

def encode(text: str) -> list[int]:
    return [CHARACTERS.index(character) for character in text]
"""

_PAIRS: Final = """MERGES = {merges}  # pairs of tokens, each of which makes one more

{code}
PAIRS = Pairs(CHARACTERS, MERGES)
TOKENS, encode = PAIRS.texts, PAIRS.encode
"""


def program(checkpoint: Checkpoint) -> bytes:
    """symmetry.py with the weights inside: one file that writes on the standard library alone."""
    source = Path(symmetry.__file__).read_text(encoding="utf-8")
    art, _, _ = source.partition('if __name__ == "__main__":')
    model = checkpoint.model
    varied = variations(model)
    numbers = checkpoint.state.weights.astype("<f8").tobytes()
    names = ("emb", "head", "layer", "ctx", "ff", "norm_embeddings", "norm_head", *varied)
    alone = _ALONE.format(
        config="Varied" if varied else "Config",
        model="varied" if varied else "GPT",
        shapes="sizes" if varied else "shapes",
        settings=", ".join(f"{name}={getattr(model, name)!r}" for name in names),
        characters=ascii(checkpoint.tokenizer.characters),
        tokens=_tokens(checkpoint.tokenizer),
        unit="tokens" if checkpoint.tokenizer.merges else "characters",
        kind=repr(checkpoint.kind),
        normalized=_NORMALIZED if checkpoint.tokenizer.normalize == "nfc" else "",
        temperature=usual_temperature(checkpoint.kind),
        weights="\n".join(textwrap.wrap(base64.b64encode(numbers).decode(), 120)),
    )
    return (BANNER + art.rstrip() + "\n" + (_variations() if varied else "") + alone).encode()


def _variations() -> str:
    """variations.py without its imports, all of which symmetry.py has."""
    source = Path(defined.__file__).read_text(encoding="utf-8")
    imports = [node.end_lineno for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return _VARIED + "\n".join(source.splitlines()[imports[-1] :]).lstrip("\n") + "\n"


def _tokens(tokenizer: Tokenizer) -> str:
    """The code from text to tokens; that of merges is the one that transformers gets."""
    if not tokenizer.merges:
        return _CHARACTERS
    code = (CODE / f"{PAIRS}.py").read_text(encoding="utf-8")
    return _PAIRS.format(merges=json.dumps(tokenizer.merges), code=code)
