/** The difference of two texts, line by line. */

const MOST_LINES = 2_000;

/**
 * @param {string} before @param {string} after
 * @returns {{sign: " "|"-"|"+", line: string}[]|null} null: too long to be compared here
 */
export function difference(before, after) {
  const [old, young] = [before.split("\n"), after.split("\n")];
  if (old.length + young.length > MOST_LINES) return null;
  const common = lengths(old, young);
  /** @type {{sign: " "|"-"|"+", line: string}[]} */
  const found = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < young.length) {
    if (i < old.length && j < young.length && old[i] === young[j]) {
      found.push({ sign: " ", line: old[i] });
      i += 1;
      j += 1;
    } else if (i < old.length && (j === young.length || common[i + 1][j] >= common[i][j + 1])) {
      found.push({ sign: "-", line: old[i++] });
    } else {
      found.push({ sign: "+", line: young[j++] });
    }
  }
  return found;
}

/** The number of lines that the rests of both have in common, by where the rests begin. */
function lengths(old, young) {
  const table = Array.from({ length: old.length + 1 }, () => new Uint16Array(young.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = young.length - 1; j >= 0; j -= 1) {
      table[i][j] =
        old[i] === young[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  return table;
}
