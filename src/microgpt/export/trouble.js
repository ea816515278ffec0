"use strict";
// What characters are called, and why a text can't be written, in sentences.

const NAMES = { "\n": "line break", " ": "space", "\t": "tab", "\u00a0": "no-break space", "\u2028": "line separator" };

const counted = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

const code = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** What a character that can't be seen is called; undefined for the others. */
const nameOf = (text) => NAMES[text] ?? (/^[\p{C}\p{Z}]$/u.test(text) ? code(text) : undefined);

/** A token by itself: a mark that joins the letter before it stands on a circle, and blanks beside letters are seen. */
const alone = (text) => (/^\p{M}/u.test(text) ? "\u25cc" : "") + text.replace(/ /g, "␣").replace(/\n/g, "↵");

/** A character in a sentence: “é”, or line break. */
const quoted = (character) => nameOf(character) ?? `“${alone(character)}”`;

/** The same with its number in Unicode: “é” (U+00E9). */
const named = (character) =>
  quoted(character) === code(character) ? code(character) : `${quoted(character)} (${code(character)})`;

/** Why the model can't go on from this text, in a sentence; "" where it can. */
function trouble(writer, text) {
  const { tokenizer, room, ctx } = writer;
  const unknown = tokenizer.unknown(text);
  if (unknown.length) return `The model has never seen ${listed(unknown)}.${nearest(tokenizer, text, unknown)}`;
  const found = tokenizer.encode(text).length;
  if (found <= room) return "";
  const unit = tokenizer.ranks.size ? "token" : "character";
  return `A text of this model has at most ${counted(ctx, unit)}, found ${found} already: shorten it.`;
}

function listed(characters) {
  const more = characters.length > 10 ? [counted(characters.length - 10, "other")] : [];
  const all = [...characters.slice(0, 10).map(named), ...more];
  return all.length > 1 ? `${all.slice(0, -1).join(", ")} and ${all.at(-1)}` : all[0];
}

/** The known spellings of unknown letters, in a sentence. */
function nearest(tokenizer, text, unknown) {
  const pairs = unknown.slice(0, 10).map((letter) => [letter, tokenizer.nearest(letter)]).filter(([, known]) => known);
  const told = pairs.map(([letter, known]) => `${quoted(known)} for ${quoted(letter)}`);
  if (told.length) return ` Nearest known: ${told.join(", ")}.`;
  return mends(tokenizer, text) ? " Joined to the letter before, it is known." : " Leave it out.";
}

const mends = (tokenizer, text) => tokenizer.mended(text) !== tokenizer.normalized(text);
