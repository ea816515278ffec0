"""What a training has to tell of itself: the facts it begins with, and its result."""

import math

from microgpt.data.dataset import Dataset
from microgpt.model.ledger import params
from microgpt.training.evaluate import HeldOut
from microgpt.training.records import Losses, Result, Started
from microgpt.training.sample import Samples
from microgpt.training.session import Session


def started(session: Session) -> Started:
    """The facts to begin with."""
    data, request = session.dataset, session.request
    return Started(
        run=session.run,
        recipe=request.recipe,
        engine=request.engine,
        precision=request.precision,
        threads=request.threads,
        ranks=session.prepared.training.ranks,
        params=params(session.prepared.checkpoint.model),
        settings=session.settings,
        step=session.step,
        data=session.prepared.training.provenance.name,
        kind=session.prepared.checkpoint.kind,
        documents=data.documents,
        cropped_documents=data.cropped_documents,
        cropped_tokens=data.cropped_tokens,
        vocabulary=data.vocabulary,
        holdout_documents=data.holdout_documents,
        holdout_unseen_characters=data.holdout_unseen_characters,
        unigram=data.unigram,
        uniform=data.uniform,
        resumed_from=session.past.resumed_from,
    )


def result_of(session: Session, held_out: HeldOut | None, samples: Samples) -> Result:
    """All that the finished run has to say."""
    begun = started(session)
    return Result(
        run=begun.run,
        recipe=begun.recipe,
        engine=begun.engine,
        threads=begun.threads,
        ranks=begun.ranks,
        params=begun.params,
        documents=begun.documents,
        cropped_tokens=begun.cropped_tokens,
        vocabulary=begun.vocabulary,
        holdout_unseen_characters=begun.holdout_unseen_characters,
        precision=int(begun.precision) if begun.precision.isdigit() else begun.precision,
        steps=session.settings.steps,
        steps_taken=session.step,
        selected_step=session.kept_step,
        batch=session.settings.batch,
        tokens=tokens_of(session.dataset, session.step, session.settings.batch),
        seconds=session.watch.seconds(),
        loss=_losses(session, held_out),
        samples=samples.texts,
        samples_copied=samples.copied,
        resumed_from=begun.resumed_from,
    )


def _losses(session: Session, held_out: HeldOut | None) -> Losses:
    data = session.dataset
    mixed = session.mixed() if held_out else None
    return Losses(
        first=_known(session.losses[0] * data.characters) if session.losses else None,
        last=_known(session.losses[-1] * data.characters) if session.losses else None,
        mean_last_100=_known(session.recent_loss * data.characters),
        holdout=held_out.loss if held_out else None,
        holdout_se=held_out.se if held_out else None,
        holdout_documents=data.holdout_documents,
        holdout_bits_per_character=held_out.bits_per_character if held_out else None,
        holdout_per_character=held_out.per_character if held_out else None,
        holdout_per_character_se=held_out.per_character_se if held_out else None,
        unigram=data.unigram * data.characters_measured,
        uniform=math.log(data.vocabulary),
        unigram_per_character=data.unigram,
        uniform_per_character=data.uniform,
        characters_per_token=data.characters,
        counts=mark.loss if (mark := session.marking.wait()) else None,
        mixed=mixed.per_character if mixed else None,
        mixed_se=mixed.per_character_se if mixed else None,
    )


def tokens_of(dataset: Dataset, steps: int, batch: int) -> int:
    """How many tokens a training predicts: whole stretches of the order at once, as many as fit into memory."""
    stretch = max(1, (1 << 20) // batch)
    firsts = range(0, steps, stretch)
    return sum(dataset.predictions(first, min(stretch, steps - first), batch) for first in firsts)


def _known(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
