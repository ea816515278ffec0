"""What transformers says of exported folders: cases as JSON on standard input, answers as JSON on standard output.

A process of its own, because torch and transformers take seconds to import and give warnings of their own.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM, AutoTokenizer


def answer(folder: str, tokens: list[list[int]], prompts: list[str], texts: list[str], length: int) -> dict[str, Any]:
    usual, single, double = (model(folder, dtype) for dtype in (None, torch.float32, torch.float64))
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    ids = torch.tensor(tokens)
    return {
        "class": type(usual).__name__,
        "dtype": str(usual.dtype),
        "single": torch.softmax(single(ids).logits, -1).tolist(),
        "double": torch.softmax(double(ids).logits, -1).tolist(),
        "loss": double(ids, labels=ids).loss.item(),
        "padded": padded(double, ids, tokenizer.pad_token_id),
        "beyond": refusal(lambda: usual(torch.zeros(1, usual.config.ctx + 1, dtype=torch.int64))),
        "cached": written(double, tokenizer, prompts, length, True),
        "uncached": written(double, tokenizer, prompts, length, False),
        "continued": continued(double, ids),
        "greedy": [list(greedy(double, tokenizer, prompt, length)) for prompt in prompts],
        **drawn(usual, tokenizer, length),
        **encoded(tokenizer, texts),
        "resaved": resaved(folder + "-again", ids, single, tokenizer),
    }


def model(folder: str, dtype: torch.dtype | None) -> Any:
    chosen = {"dtype": dtype} if dtype else {}
    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, **chosen)


def padded(model: Any, ids: torch.Tensor, bos: int) -> float:
    """How far the logits of a document are from themselves beside a longer one."""
    missing = ids.shape[1] // 2
    short = ids[:1, missing:]
    both = torch.cat([ids[:1], pad(short, (missing, 0), value=bos)])
    mask = torch.ones_like(both)
    mask[1, :missing] = 0
    together = model(both, attention_mask=mask).logits[1, missing:]
    return float((together - model(short).logits[0]).abs().max())


def refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except ValueError as error:
        return str(error)
    return ""


def greedy(model: Any, tokenizer: Any, prompt: str, length: int) -> str:
    """The most probable text after a prompt, `length` characters in all."""
    inputs = tokenizer(prompt, return_tensors="pt") if prompt else {}
    begun = inputs["input_ids"].shape[1] if prompt else 1
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=length - len(prompt))
    return prompt + tokenizer.decode(tokens[0, begun:], skip_special_tokens=True)


def written(model: Any, tokenizer: Any, prompts: list[str], length: int, use_cache: bool) -> dict[str, Any]:
    """Tokens with or without a cache: alone, by beams, drawn, together with padding, and those that are read for 12."""
    settings = {"use_cache": use_cache, "max_new_tokens": length, "do_sample": False}
    inputs = tokenizer([prompt for prompt in prompts if prompt] or [tokenizer.decode([0])], padding=True)
    inputs = {name: torch.tensor(values) for name, values in inputs.items() if name != "token_type_ids"}
    read: list[int] = []
    hook = model.register_forward_pre_hook(lambda *given: read.append(given[2]["input_ids"].shape[1]), with_kwargs=True)
    model.generate(**{**settings, "max_new_tokens": 12})
    hook.remove()
    torch.manual_seed(0)
    told = {
        "alone": model.generate(**settings),
        "beams": model.generate(**settings, num_beams=3, num_return_sequences=3),
        "drawn": model.generate(**{**settings, "do_sample": True}, num_return_sequences=5),
        "together": model.generate(**inputs, **settings),
    }
    return {name: tokens.tolist() for name, tokens in told.items()} | {"read": read}


def continued(model: Any, ids: torch.Tensor) -> list[Any]:
    """How far logits are from themselves where the tokens before are cached; and what is written on from a cache that
    an earlier writing left and from none, after a text that goes on by itself, and with the cache ahead of the text."""
    half = ids.shape[1] // 2
    part = model(ids[:, :half], use_cache=True)
    apart = model(ids[:, half:], past_key_values=kept(part)).logits - model(ids).logits[:, half:]
    few = {"do_sample": False, "max_new_tokens": model.config.ctx + 2 if model.config.kind == "windows" else 2}
    before = model.generate(ids[:, :2], return_dict_in_generate=True, **few)
    both = torch.cat([before.sequences, ids[:, :3]], 1)
    on = [model.generate(both, past_key_values=past, **few).tolist() for past in (kept(before), None)]
    ahead = refusal(lambda: model.generate(ids[:, :1], past_key_values=kept(part), **few)) if half else ""
    return [float(apart.abs().max()), *on, ahead]


def kept(output: Any) -> Any:
    """The cache, whatever this version of the library calls it."""
    return next(value for name, value in output.items() if name in ("cache", "past_key_values"))


def drawn(model: Any, tokenizer: Any, length: int) -> dict[str, Any]:
    """Texts as lists of characters: JSON would join two halves of a pair in one string."""
    torch.manual_seed(0)
    tokens = model.generate(num_return_sequences=20, max_new_tokens=length)
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return {"drawn": tokens.tolist(), "texts": [list(text) for text in texts]}


def encoded(tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return {
        "vocabulary": len(tokenizer),
        "ids": ids,
        "with_bos": [tokenizer(text)["input_ids"] for text in texts],
        "decoded": [tokenizer.decode(each, clean_up_tokenization_spaces=True) for each in ids],
        "unknown": refusal(lambda: tokenizer("æ")),
    }


def resaved(folder: str, ids: torch.Tensor, before: Any, tokenizer: Any) -> list[Any] | None:
    """How far the model is from itself when transformers has saved it, and whether the tokenizer is as before."""
    if any("\ud800" <= token <= "\udfff" for token in tokenizer.get_vocab()):
        return None  # transformers writes UTF-8, which has no halves of pairs
    before.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    again = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    distance = (model(folder, None)(ids).logits - before(ids).logits).abs().max()
    return [
        float(distance),
        again.get_vocab() == tokenizer.get_vocab() and again("  ")["input_ids"] == tokenizer("  ")["input_ids"],
    ]


if __name__ == "__main__":
    with torch.no_grad():
        json.dump({name: answer(**case) for name, case in json.load(sys.stdin).items()}, sys.stdout)
