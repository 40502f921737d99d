// What the reader marked, as files: votes for `yoj votes`, rankings for `yoj train`, and the comments.

const marked = () => index.groups.flatMap(({ key }, place) => (markOf(key).preferred !== null ? [[place, markOf(key)]] : []));
const isTie = (mark) => mark.preferred === "tie";

const CARRIED = ["messages", "image", "images", "video", "videos", "sampling_interval", "fps"];

/** The conversation and media of a group, as the line has them: a vote belongs to them. */
function askedOf(group) {
  const { turns, whole } = group;
  const fields = JSON.parse(group.fields);
  const asked = Object.fromEntries(CARRIED.filter((name) => whole && name in fields).map((name) => [name, fields[name]]));
  const prompt = [fields.prompt, fields.question].find((value) => value !== undefined && value !== null);
  if (whole && Array.isArray(prompt)) return { ...asked, messages: prompt };
  if (asked.messages || turns.length === 0) return asked;
  const textOf = (turn) => turn.blocks.filter((block) => typeof block === "string").join(" ");
  if (turns.length === 1) return { ...asked, prompt: textOf(turns[0]) };
  return { ...asked, messages: turns.map((turn) => ({ role: turn.role, content: textOf(turn) })) };
}

/** A vote for the preferred response against each other one; all pairs as ties where none is better. */
function votesOf(place, mark, annotator) {
  const group = groupAt(place);
  const n = group.responses.length;
  const pairs = [];
  for (let a = 0; a < n; a++) {
    for (let b = a + 1; b < n; b++) {
      if (isTie(mark) || a === mark.preferred || b === mark.preferred) pairs.push([a, b]);
    }
  }
  return pairs.map(([a, b]) => ({
    group: index.groups[place].key,
    ...askedOf(group),
    a: group.vote_names[a],
    b: group.vote_names[b],
    winner: isTie(mark) ? "tie" : a === mark.preferred ? "a" : "b",
    annotator,
    a_text: group.responses[a],
    b_text: group.responses[b],
  }));
}

/** The line as it was given to the judge, with the preferred response first and all others second; as text, see `fields`. */
function rankingOf(place, mark) {
  const { fields, responses } = groupAt(place);
  const ranked = { responses, rankings: responses.map((_, i) => (i === mark.preferred ? 1 : 2)) };
  const own = fields.replace(/\n */g, "").slice(1, -1); // a line break stands between fields only, in a text it is \n
  return `{${own}${own ? "," : ""}${JSON.stringify(ranked).slice(1)}`;
}

const annotatorOf = () => byId("annotator").value.trim() || "reader";

function exportVotes() {
  const lines = marked().flatMap(([place, mark]) => votesOf(place, mark, annotatorOf()));
  save("votes.jsonl", lines.map((line) => JSON.stringify(line)));
}

const canTrain = ([place, mark]) => !isTie(mark) && groupAt(place).whole && groupAt(place).responses.length > 1;

function exportRankings() {
  save("rankings.jsonl", marked().filter(canTrain).map(([place, mark]) => rankingOf(place, mark)));
}

function exportNotes() {
  const said = index.groups.filter(({ key }) => marks.has(key));
  save("notes.jsonl", said.map(({ key }) => JSON.stringify({ id: key, ...markOf(key) })));
}

function save(name, lines) {
  const text = lines.map((line) => `${line}\n`).join("");
  download(name, text, "application/jsonl");
  toast(`${countOf(lines.length, "line")} saved as ${name}.`);
}

function openExport() {
  const all = marked();
  const n = all.filter(canTrain).length;
  const without = all.filter(([place]) => !groupAt(place).whole).length;
  byId("export-summary").textContent = marks.size
    ? `${countOf(all.length, "group")} with a preferred response or a tie, ${countOf([...marks.values()].filter((mark) => mark.star).length, "star")}, ` +
      `${countOf([...marks.values()].filter((mark) => mark.comment).length, "comment")}.`
    : "Nothing is marked yet. Choose the better response of a group with its button, or with the keys 1 to 9.";
  byId("export-votes").disabled = !all.length;
  byId("export-rankings").disabled = !n;
  byId("export-notes").disabled = !marks.size;
  byId("export-note").textContent =
    "Media paths in the rankings are those of the verdict file: save them beside it, or give --media-root. Ties teach nothing and are in the votes only." +
    (without ? ` ${countOf(without, "marked group")} whose line holds its pictures itself can be exported as votes only.` : "");
  byId("export").showModal();
}

function buildExport() {
  byId("open-export").addEventListener("click", openExport);
  byId("export-votes").addEventListener("click", exportVotes);
  byId("export-rankings").addEventListener("click", exportRankings);
  byId("export-notes").addEventListener("click", exportNotes);
}
