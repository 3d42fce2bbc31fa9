// Many of something at once, and numbers that are random and the same in each run.

export const range = (length, of = (index) => index) => Array.from({ length }, (_, index) => of(index));
export const all = (length, of) => Promise.all(range(length, of));

/** The same numbers in each run (mulberry32). */
export function generator(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (number) => Math.floor(next() * number);
  return {
    below,
    pick: (choices) => choices[below(choices.length)],
    bytes: (length) => Buffer.from(range(length, () => below(256))),
  };
}
