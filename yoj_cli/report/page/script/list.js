// The list of groups: only the rows in sight are in the document, so that 2,000 groups scroll like 20.

const ROW_PX = 66;
const AHEAD = 8;
let selected = -1; // the place in the index of the group that is shown
const spacer = el("div.spacer", { role: "presentation" });
const drawn = new Map(); // place in the list -> its row

const OUTCOMES = {
  right: ["✓", "right"],
  wrong: ["✗", "wrong"],
  tie: ["=", "tie"],
  unranked: ["·", "no ranking"],
  failed: ["!", "failed"],
};

function outcomeSign(verdict) {
  if (verdict === null) return el("span.outcome.missing", { title: "not in this file" }, "–");
  const [sign, words] = OUTCOMES[verdict.outcome];
  return el(`span.outcome.${verdict.outcome}`, { title: words, role: "img", "aria-label": words }, sign);
}

function buildList() {
  const rows = byId("rows");
  rows.append(spacer);
  let isWaiting = false;
  rows.addEventListener("scroll", () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      drawRows();
    });
  }, { passive: true });
  new ResizeObserver(drawRows).observe(rows);
}

/** Draw the list anew: what is shown, or a mark in it, has changed. */
function showList() {
  spacer.style.height = `${Math.max(shown.length * ROW_PX, 1)}px`;
  for (const row of drawn.values()) row.remove();
  drawn.clear();
  spacer.querySelector(".nothing")?.remove();
  if (!shown.length) spacer.append(nothingFound());
  drawRows();
}

function nothingFound() {
  const asked = state.q ? `“${state.q}”` : "these filters";
  return el("div.nothing", { role: "option", "aria-selected": "false" },
    el("p", {}, patternProblem ? "This is not a regular expression." : `No group fits ${asked}.`));
}

function drawRows() {
  const rows = byId("rows");
  const first = Math.max(Math.floor(rows.scrollTop / ROW_PX) - AHEAD, 0);
  const last = Math.min(Math.ceil((rows.scrollTop + rows.clientHeight) / ROW_PX) + AHEAD, shown.length);
  for (const [at, row] of drawn) {
    if (at >= first && at < last) continue;
    row.remove();
    drawn.delete(at);
  }
  for (let at = first; at < last; at++) {
    if (drawn.has(at)) continue;
    const row = buildRow(at);
    drawn.set(at, row);
    spacer.append(row);
  }
}

function buildRow(at) {
  const place = shown[at];
  const { key, title, n, picture, clip, verdicts } = index.groups[place];
  const mark = markOf(key);
  const isBlind = state.blind && mark.preferred === null;
  const row = el(
    "div.row",
    {
      id: `row-${place}`,
      role: "option",
      "aria-selected": place === selected ? "true" : "false",
      "aria-posinset": at + 1,
      "aria-setsize": shown.length,
      onclick: () => select(place),
    },
    el("span.outcomes", {}, isBlind ? el("span.outcome.missing", { title: "hidden" }, "?") : verdicts.map(outcomeSign)),
    putText(el("span.row-title", { dir: "auto" }), title || "(no prompt)"),
    el(
      "span.row-facts",
      {},
      putText(el("span.row-key", { dir: "ltr" }), key),
      el("span", {}, `${n} resp.`),
      picture ? el("span", { title: "has a picture" }, "picture") : null,
      clip ? el("span", { title: "has a clip" }, "clip") : null,
      isBlind ? null : rowMargin(verdicts),
    ),
    el(
      "span.row-marks",
      {},
      mark.star ? el("span.star", { role: "img", "aria-label": "starred" }, "★") : null,
      mark.preferred !== null ? el("span.preferred", { title: "you prefer" }, mark.preferred === "tie" ? "=" : String(mark.preferred + 1)) : null,
      mark.comment ? el("span.comment", { role: "img", "aria-label": "commented" }, "✎") : null,
    ),
  );
  row.style.top = `${at * ROW_PX}px`;
  return row;
}

function rowMargin(verdicts) {
  const margins = verdicts.filter((verdict) => verdict && verdict.margin !== null).map(({ margin }) => percent(margin));
  return margins.length ? el("span", { title: "P(best) of the first above the second's" }, `margin ${margins.join(", ")}`) : null;
}

function select(place, { quiet = false } = {}) {
  go({ v: "groups", g: index.groups[place].key, d: "" }, { quiet });
}

/** Say in the list which group is shown, and bring it into sight. */
function showSelected() {
  for (const [at, row] of drawn) row.setAttribute("aria-selected", shown[at] === selected ? "true" : "false");
  const at = shown.indexOf(selected);
  const rows = byId("rows");
  if (at < 0) {
    rows.removeAttribute("aria-activedescendant");
    return;
  }
  const top = at * ROW_PX;
  if (top < rows.scrollTop) rows.scrollTop = top;
  else if (top + ROW_PX > rows.scrollTop + rows.clientHeight) rows.scrollTop = top + ROW_PX - rows.clientHeight;
  drawRows();
  rows.setAttribute("aria-activedescendant", `row-${selected}`);
}

/** The group before or after the one that is shown. */
function step(by) {
  if (!shown.length) return;
  const at = shown.indexOf(selected);
  const next = at < 0 ? (by > 0 ? 0 : shown.length - 1) : Math.min(Math.max(at + by, 0), shown.length - 1);
  select(shown[next], { quiet: true });
}
