"""What a text and its settings give cause to say before a training, and after one that went wrong."""

import math
from collections.abc import Iterator
from typing import Final

from microgpt.model.ledger import params
from microgpt.model.settings import Settings, counted, usual_rate
from microgpt.training.prepare import Prepared
from microgpt.training.records import Note
from microgpt.training.session import Session, gentler

USUAL: Final = Settings()
SELDOM: Final = 5  # times
BY_HEART: Final = 300  # epochs times parameters for each token of the text
RISEN: Final = 1.1  # times the first loss, which is that of one batch
LAST: Final = "loss of the last steps"
HELD_OUT: Final = "held-out loss"


def remarks(prepared: Prepared) -> list[Note]:
    """What the text gives cause to say."""
    data, corpus, ctx = prepared.dataset, prepared.dataset.split.corpus, prepared.request.settings.ctx
    notes = [Note(note) for note in corpus.notes]
    if prepared.request.documents == "auto":
        notes.append(Note(corpus.reason))
    if hint := own_text(prepared):
        notes.append(Note(hint))
    elif warning := too_small(prepared):
        notes.append(Note(warning, warning=True))
    if data.cropped_tokens:
        unit = "characters" if corpus.tokenizer.tokens == "characters" else "tokens"
        notes.append(
            Note(
                f"{data.cropped_documents:,} of {data.documents:,} documents are longer than --ctx {ctx}, which leaves "
                f"out {data.cropped_tokens:,} of their {unit}; a larger --ctx or --documents windows would not.",
                warning=True,
            )
        )
    if warning := too_rare(prepared):
        notes.append(Note(warning, warning=True))
    if unseen := data.holdout_unseen_characters:
        occur = "occurs" if unseen == 1 else "occur"
        notes.append(
            Note(f"{counted(unseen, 'character')} of the held-out text never {occur} in the training text.", True)
        )
    if shared := data.held_out_in_training:
        consequence = "so the held-out loss looks better than it is"
        notes.append(Note(f"{shared:,} held-out lines are in the training text too, {consequence}.", True))
    return notes


def own_text(prepared: Prepared) -> str | None:
    """A hint where the default sizes, made for names, meet a text of longer documents."""
    data, settings = prepared.dataset, prepared.request.settings
    sizes = ("emb", "layer", "ctx", "steps")
    if prepared.request.recipe != "default" or any(getattr(settings, name) != getattr(USUAL, name) for name in sizes):
        return None
    if not data.split.is_running and data.cropped_tokens < data.tokens_in_epoch / 10:
        return None
    return f"{params(prepared.checkpoint.model):,} parameters suit short names; try --for 60s."


def too_small(prepared: Prepared) -> str | None:
    """A warning where the model is so large and sees the text so often that it will learn it by heart.

    In the sweep of bench/budgets.py the held-out loss rose, on texts of 600 to 90,000 tokens, where epochs times
    parameters for each token came to 30 to 300.
    """
    settings, tokens = prepared.request.settings, prepared.dataset.tokens_in_epoch
    epochs = settings.steps * settings.batch / prepared.dataset.documents
    size = params(prepared.checkpoint.model)
    if prepared.request.select == "best" or epochs < 2 or epochs * size < BY_HEART * tokens:
        return None
    fewer = max(1, int(settings.steps * BY_HEART / 3 * tokens / (epochs * size)))
    return (
        f"{size:,} parameters see the {tokens:,} tokens of this text {epochs:,.0f} times and will learn them by heart; "
        f"fewer --steps (such as {fewer:,}), a smaller --emb, more text, or --for 60s, which stops in time."
    )


def too_rare(prepared: Prepared) -> str | None:
    """A warning where most characters occur so seldom that no model can learn when to write them."""
    split = prepared.dataset.split.characters or prepared.dataset.split
    counts = split.training_counts[: split.corpus.tokenizer.bos]
    seldom, known = int(((counts > 0) & (counts < SELDOM)).sum()), int((counts > 0).sum())
    if 2 * seldom <= known:
        return None
    return (
        f"{seldom:,} of the {known:,} characters of this text occur fewer than {SELDOM} times, too seldom to be "
        "learned; more text would help, or --tokens bytes, which are few."
    )


def above_nothing(session: Session, loss: float, what: str, *, surely: bool = False) -> Iterator[Note]:
    """A warning of a loss above that of a model that knows nothing: at the end whatever the reason, in mid-run only
    where it has `surely` risen."""
    uniform, usual = session.dataset.uniform, usual_rate(session.settings.emb)
    risen = loss > RISEN * max([uniform, *session.losses[:1]])
    if loss > uniform and (risen or not surely):
        told = f"the {what}, {loss:.3f}, is above {uniform:.3f}, what guessing every token alike scores: "
        if what == HELD_OUT and session.losses and session.recent_loss < uniform / 2:
            by_heart = f"it knows its training text by heart ({LAST} {session.recent_loss:.3f})"
            told += f"{by_heart}; take fewer --steps, a smaller --emb, or more text."
        elif risen or session.settings.lr > 2 * usual:
            told += f"the learning rate is too high; try --lr {gentler(session.settings):g}."
        else:
            more = "more --steps" if math.isinf(session.deadline) else "a longer --for"
            other = "" if session.settings.lr == usual else f", or another rate such as --lr {usual:g}"
            told += f"it has learned nothing yet; take {more}{other}."
        yield Note(told, warning=True)
