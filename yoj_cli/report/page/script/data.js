// What the page holds as data. Each group and medium is an element of its own, and is read when it is first asked for.

const index = readBlock("index");
const isComparison = index.judges.length > 1;
const places = new Map(index.groups.map((row, place) => [row.key, place]));
const groups = new Map();
const media = new Map();

function readBlock(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Everything of the group at a place in the index, but its media. */
function groupAt(place) {
  if (!groups.has(place)) groups.set(place, readBlock(`group-${place}`));
  return groups.get(place);
}

function mediumAt(place) {
  if (!media.has(place)) media.set(place, readBlock(`media-${place}`));
  return media.get(place);
}

/** The larger pictures of a medium; not kept, they are what takes the most memory. */
function largeAt(place) {
  return readBlock(`large-${place}`);
}

/** All that is searched in a group, in one text. */
const haystacks = new Map();
function haystackAt(place) {
  if (!haystacks.has(place)) {
    const group = groupAt(place);
    const turns = group.turns.flatMap((turn) => turn.blocks.filter((block) => typeof block === "string"));
    const errors = group.verdicts.flatMap((verdict) => (verdict && verdict.error ? [verdict.error.message] : []));
    const media = group.turns.flatMap((turn) => turn.blocks.filter((block) => typeof block !== "string"));
    const names = media.map((block) => mediumAt(block.media).name);
    haystacks.set(
      place,
      [index.groups[place].key, index.groups[place].title, ...turns, ...group.responses, ...group.names,
        ...group.criteria, ...names, ...errors].join("\n"),
    );
  }
  return haystacks.get(place);
}
