// Which words two responses do not share: the longest common subsequence of their words.

const MAX_CELLS = 9e6; // 3,000 words against 3,000

/** Words and the white space between them; joined they are the text again. */
const wordsOf = (text) => text.match(/\s+|[\p{L}\p{N}\p{M}_'’-]+|[^\s]/gu) || [];

/** [[ "…", isShared ], …] for each of two texts; null where they are too long to be compared. */
function compareWords(a, b) {
  const [left, right] = [wordsOf(a), wordsOf(b)];
  let head = 0;
  while (head < left.length && head < right.length && left[head] === right[head]) head++;
  let tail = 0;
  while (tail < left.length - head && tail < right.length - head && left.at(-1 - tail) === right.at(-1 - tail)) tail++;
  const [n, m] = [left.length - head - tail, right.length - head - tail];
  if (n * m > MAX_CELLS) return null;
  const shared = commonWords(left.slice(head, head + n), right.slice(head, head + m));
  const pieces = (words, own) =>
    join(words.map((word, i) => [word, i < head || i >= words.length - tail || own.has(i - head)]));
  return [pieces(left, shared.left), pieces(right, shared.right)];
}

function commonWords(left, right) {
  const [n, m] = [left.length, right.length];
  const ways = new Uint8Array((n + 1) * (m + 1)); // 1: both, 2: skip in left, 3: skip in right
  let below = new Uint32Array(m + 1);
  for (let i = n - 1; i >= 0; i--) {
    const here = new Uint32Array(m + 1);
    for (let j = m - 1; j >= 0; j--) {
      const at = i * (m + 1) + j;
      if (left[i] === right[j]) [here[j], ways[at]] = [below[j + 1] + 1, 1];
      else if (below[j] >= here[j + 1]) [here[j], ways[at]] = [below[j], 2];
      else [here[j], ways[at]] = [here[j + 1], 3];
    }
    below = here;
  }
  const shared = { left: new Set(), right: new Set() };
  for (let i = 0, j = 0; i < n && j < m; ) {
    const way = ways[i * (m + 1) + j];
    if (way === 1) {
      shared.left.add(i++);
      shared.right.add(j++);
    } else if (way === 2) i++;
    else j++;
  }
  return shared;
}

/** Neighbours of one kind as one piece; white space between two words of a response's own belongs to them. */
function join(words) {
  for (let i = 1; i + 1 < words.length; i++) {
    if (/^\s+$/.test(words[i][0]) && !words[i - 1][1] && !words[i + 1][1]) words[i][1] = false;
  }
  const pieces = [];
  for (const [word, isShared] of words) {
    if (pieces.length && pieces.at(-1)[1] === isShared) pieces.at(-1)[0] += word;
    else pieces.push([word, isShared]);
  }
  return pieces;
}
