// What a curve says about a training, in one judgement: whether its text is known by heart.

const WORSE = 0.1; // nats that the held-out loss may have risen from its lowest before that is worth a word
const SHARE = 0.9; // of the way: a best later than that is the end

// The look at which a model was best on held-out text, where it has become clearly worse since; else null.
export function byHeart(looks) {
  const measured = looks.filter(({ loss }) => Number.isFinite(loss));
  if (measured.length < 3) return null;
  const last = measured.at(-1);
  const best = measured.reduce((least, look) => (look.loss < least.loss ? look : least));
  return best.step < SHARE * last.step && last.loss > best.loss + WORSE ? best : null;
}
