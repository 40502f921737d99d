// What the reader says of a group: the preferred response, a star, a comment. Kept in this browser, under the report's
// fingerprint, so that the same verdicts rendered again find them.

const STORE = `yoj-report-${index.report}`;
let marks = loadMarks();
let isKept = true;

function loadMarks() {
  try {
    const said = JSON.parse(localStorage.getItem(STORE) || "{}");
    return new Map(Object.entries(said).filter(([key]) => places.has(key)));
  } catch {
    return new Map();
  }
}

/** { preferred: 2 | "tie" | null, star: true, comment: "…" }; "tie" says that no response is better than another. */
function markOf(key) {
  return marks.get(key) || { preferred: null, star: false, comment: "" };
}

function setMark(key, changes) {
  const next = { ...markOf(key), ...changes };
  if (next.preferred === null && !next.star && !next.comment) marks.delete(key);
  else marks.set(key, next);
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(marks)));
  } catch {
    if (isKept) toast("This browser keeps no data for this page: export your marks before you close it.");
    isKept = false;
  }
  for (const listener of listeners) listener(state);
}

/** The response at a place, 0 for the first; the same one again takes the mark back. */
function prefer(key, choice) {
  if (index.groups[places.get(key)].n < 2) return toast("There is nothing to choose between.");
  setMark(key, { preferred: markOf(key).preferred === choice ? null : choice });
}

window.addEventListener("storage", (event) => {
  if (event.key !== STORE) return; // another tab with the same report
  marks = loadMarks();
  for (const listener of listeners) listener(state);
});
