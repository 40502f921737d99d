// Which groups are shown, and in what order. All figures come with the index; here they are only picked and counted.

const some = (row, test) => row.verdicts.some((verdict) => verdict !== null && test(verdict));

/** Of two judges that both scored a ranked group, only this one is right. */
function isOnlyRight(row, judge) {
  const [one, other] = [row.verdicts[judge], row.verdicts[1 - judge]];
  return Boolean(one && other) && one.outcome === "right" && ["wrong", "tie"].includes(other.outcome);
}

/** Filters of one kind widen each other (right or wrong), those of different kinds narrow (wrong, and with a clip). */
const FILTERS = [
  { name: "right", kind: "outcome", label: "right", sign: "✓", test: (row) => some(row, (v) => v.outcome === "right") },
  { name: "wrong", kind: "outcome", label: "wrong", sign: "✗", test: (row) => some(row, (v) => v.outcome === "wrong") },
  { name: "tie", kind: "outcome", label: "tie", sign: "=", test: (row) => some(row, (v) => v.outcome === "tie") },
  { name: "unranked", kind: "outcome", label: "no ranking", sign: "·", test: (row) => some(row, (v) => v.outcome === "unranked") },
  { name: "failed", kind: "outcome", label: "failed", sign: "!", test: (row) => some(row, (v) => v.outcome === "failed") },
  { name: "differ", kind: "differ", label: "judges differ", test: (row) => row.differs },
  { name: "only-a", kind: "only", label: "only A right", test: (row) => isOnlyRight(row, 0) },
  { name: "only-b", kind: "only", label: "only B right", test: (row) => isOnlyRight(row, 1) },
  { name: "unsure", kind: "unsure", label: "low margin", test: (row) => some(row, (v) => v.unsure) },
  { name: "shaky", kind: "shaky", label: "high spread", test: (row) => some(row, (v) => v.shaky) },
  { name: "picture", kind: "media", label: "picture", test: (row) => row.picture },
  { name: "clip", kind: "media", label: "clip", test: (row) => row.clip },
  { name: "starred", kind: "starred", label: "starred", sign: "★", test: (row) => markOf(row.key).star },
  { name: "marked", kind: "marked", label: "marked", test: (row) => markOf(row.key).preferred !== null },
  { name: "commented", kind: "commented", label: "commented", test: (row) => Boolean(markOf(row.key).comment) },
];

const EXPLAINED = {
  tie: "the highest score is shared by best and other responses",
  unsure: `P(best) of the first is less than ${Math.round(100 * index.low_margin)} points above the second's`,
  shaky: "over the orders, the first or second score moved by as much as they are apart",
  differ: "the judges do not choose the same response",
};

const high = (pick) => (row) => Math.max(...row.verdicts.map((v) => (v && v[pick] !== null ? v[pick] : -1)));
const low = (pick) => (row) => Math.min(...row.verdicts.map((v) => (v && v[pick] !== null ? v[pick] : 2)));
const apart = (row) => {
  const [a, b] = row.verdicts.map((v) => (v && v.regret !== null ? v.regret : 0));
  return Math.abs(a - (b || 0));
};

const SORTS = {
  file: { label: "as in the file" },
  regret: { label: "worst first", by: high("regret"), down: true },
  unsure: { label: "least sure first", by: low("margin") },
  sure: { label: "surest first", by: high("margin"), down: true },
  long: { label: "longest first", by: (row) => row.length, down: true },
  short: { label: "shortest first", by: (row) => row.length },
  ...(index.groups.some((row) => some(row, (v) => v.seconds !== null))
    ? { slow: { label: "slowest first", by: high("seconds"), down: true } }
    : {}),
  ...(isComparison ? { apart: { label: "furthest apart first", by: apart, down: true } } : {}),
};

let shown = index.groups.map((_, place) => place);
let pattern = null;
let patternProblem = "";

/** What is searched, as a pattern with all its hits; null where nothing is. */
function readPattern() {
  patternProblem = "";
  if (!state.q) return null;
  const source = state.re ? state.q : state.q.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  try {
    return new RegExp(source, "giu");
  } catch (error) {
    patternProblem = error.message.replace(/^Invalid regular expression: /, "");
    return null;
  }
}

const chosenFilters = () => FILTERS.filter((filter) => state.f.split(",").includes(filter.name));

function find() {
  pattern = readPattern();
  const byKind = Map.groupBy
    ? Map.groupBy(chosenFilters(), (filter) => filter.kind)
    : chosenFilters().reduce((kinds, each) => kinds.set(each.kind, [...(kinds.get(each.kind) || []), each]), new Map());
  const wanted = [...byKind.values()];
  const passes = (place) => {
    const row = index.groups[place];
    if (!wanted.every((filters) => filters.some((filter) => filter.test(row)))) return false;
    if (patternProblem) return false;
    return !pattern || haystackAt(place).search(pattern) >= 0;
  };
  shown = index.groups.map((_, place) => place).filter(passes);
  const sort = SORTS[state.s] || SORTS.file;
  if (sort.by) {
    const keys = new Map(shown.map((place) => [place, sort.by(index.groups[place])]));
    shown.sort((a, b) => (sort.down ? keys.get(b) - keys.get(a) : keys.get(a) - keys.get(b)) || a - b);
  }
}

function buildFinder() {
  for (const filter of FILTERS) {
    const n = index.groups.filter(filter.test).length;
    const isOfReader = ["starred", "marked", "commented"].includes(filter.name);
    if (!n && !isOfReader) continue;
    const button = el(
      `button.chip.${filter.name}`,
      { type: "button", "aria-pressed": "false", title: EXPLAINED[filter.name], onclick: () => toggleFilter(filter.name) },
      filter.sign ? el("span.sign", { "aria-hidden": "true" }, filter.sign) : null,
      filter.label,
      " ",
      el("span.count", {}, String(n)),
    );
    filter.button = button;
    byId("filters").append(button);
  }
  byId("filters").append(el("button.chip.clear", { type: "button", onclick: clearFinder, hidden: true }, "clear"));
  for (const [name, { label }] of Object.entries(SORTS)) byId("sort").append(el("option", { value: name }, label));
  byId("sort").addEventListener("change", (event) => go({ s: event.target.value }));
  byId("search").addEventListener("input", (event) => go({ v: "groups", q: event.target.value }, { quiet: true }));
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    byId("rows").focus();
  });
  byId("blind").addEventListener("click", toggleBlind);
  byId("regex").addEventListener("click", () => go({ v: "groups", re: state.re ? "" : "1" }));
}

function toggleBlind() {
  go({ v: "groups", blind: state.blind ? "" : "1" });
}

function clearFinder() {
  go({ f: "", q: "", re: "" });
}

function toggleFilter(name) {
  const names = state.f.split(",").filter(Boolean);
  go({ f: (names.includes(name) ? names.filter((each) => each !== name) : [...names, name]).join(",") });
}

function showFinder() {
  const names = state.f.split(",");
  for (const filter of FILTERS) {
    if (!filter.button) continue;
    filter.button.setAttribute("aria-pressed", names.includes(filter.name));
    if (["starred", "marked", "commented"].includes(filter.name)) {
      filter.button.querySelector(".count").textContent = index.groups.filter(filter.test).length;
    }
  }
  byId("filters").querySelector(".clear").hidden = !state.f && !state.q;
  byId("sort").value = state.s in SORTS ? state.s : "file";
  if (document.activeElement !== byId("search")) byId("search").value = state.q;
  byId("regex").setAttribute("aria-pressed", Boolean(state.re));
  byId("blind").setAttribute("aria-pressed", Boolean(state.blind));
  byId("search").setAttribute("aria-invalid", Boolean(patternProblem));
  const all = index.groups.length;
  byId("found").textContent = patternProblem
    ? `Not a pattern: ${patternProblem}`
    : shown.length === all
      ? countOf(all, "group")
      : `${shown.length.toLocaleString("en")} of ${countOf(all, "group")}`;
  byId("n-groups").textContent = all.toLocaleString("en");
}
