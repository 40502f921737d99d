// The responses of a group: ranked, with what each judge and the given ranking say of them.

const SHORT_CHARS = 1400; // what is shown of a long response at first is also limited by its height
const FOLDED_CHARS = 6000;
const PIECE_CHARS = 8000;
const opened = new Set(); // ids of texts that the reader unfolded
const LETTERS = ["A", "B"];

const isHidden = (key) => Boolean(state.blind) && markOf(key).preferred === null;
const scored = (group) => group.verdicts.filter((verdict) => verdict && !verdict.error);

/** The responses in the order shown: by the first judge's ranks; as given where there are none, or they are hidden. */
function orderOf(group, key) {
  const order = group.responses.map((_, i) => i);
  const ranks = scored(group)[0]?.ranks;
  return isHidden(key) || !ranks ? order : order.sort((a, b) => ranks[a] - ranks[b] || a - b);
}

function comparedOf(group) {
  return state.d.split("-").map(Number).filter((i) => state.d && Number.isInteger(i) && i in group.responses).slice(0, 2);
}

function buildResponses(place, group) {
  const { key } = index.groups[place];
  const compared = comparedOf(group);
  const marked = compared.length === 2 ? compareWords(...compared.map((i) => group.responses[i])) : null;
  const order = orderOf(group, key);
  const list = el(`ol.responses${compared.length === 2 ? ".comparing" : ""}`);
  for (const [at, i] of order.entries()) {
    const words = marked && compared.includes(i) ? marked[compared.indexOf(i)] : null;
    list.append(buildResponse({ place, group, key, i, at, words, isCompared: compared.includes(i) }));
  }
  return [compareNote(group, compared, marked), list];
}

function compareNote(group, compared, marked) {
  if (!compared.length) return null;
  const names = compared.map((i) => putName(el("b", { dir: "auto" }), group.names[i]));
  const stop = el("button.link", { type: "button", onclick: () => go({ d: "" }, { quiet: true }) }, "stop comparing");
  if (compared.length === 1) return el("p.compare-note", {}, "Comparing ", names[0], ": choose another response. ", stop);
  const words = marked
    ? ["Words that only one of ", names[0], " and ", names[1], " has are ", el("mark.only", {}, "marked"), ". "]
    : [names[0], " and ", names[1], " are too long for their words to be compared. "];
  return el("p.compare-note", {}, words, stop);
}

function buildResponse({ place, group, key, i, at, words, isCompared }) {
  const mark = markOf(key);
  const hidden = isHidden(key);
  const first = scored(group)[0];
  const isBest = !hidden && first && first.ranks[i] === 1;
  const given = group.given && !hidden ? group.given[i] : null;
  const isGold = given !== null && given === Math.min(...group.given) && new Set(group.given).size > 1;
  const isPreferred = mark.preferred === i;
  const classes = [isBest && "best", isGold && "gold", isPreferred && "mine", isCompared && "compared"].filter(Boolean);
  return el(
    ["li.response", ...classes].join("."),
    { "data-response": i },
    el(
      "div.response-head",
      {},
      hidden || !first ? null : el("span.rank", { title: "the judge's rank" }, `#${first.ranks[i]}`),
      putName(el("span.name", { dir: "auto" }), group.names[i]),
      given === null ? null : el(`span.tag${isGold ? ".gold" : ""}`, {}, `${isGold ? "✓ " : ""}given ${given}`),
      el(
        "span.actions",
        {},
        el(
          "button.small",
          { type: "button", "aria-pressed": isCompared ? "true" : "false", onclick: () => toggleCompared(group, i) },
          "Compare",
        ),
        el(
          "button.small.prefer",
          { type: "button", "aria-pressed": isPreferred ? "true" : "false", onclick: () => prefer(key, i) },
          isPreferred ? "Preferred" : "Prefer",
          at < 9 ? el("kbd", { "aria-hidden": "true" }, String(at + 1)) : null,
        ),
      ),
    ),
    hidden ? null : group.verdicts.map((verdict, judge) => buildMeter(verdict, i, judge)),
    hidden ? null : criteriaOf(group, i),
    buildText(`${place}-${i}`, group.responses[i], words),
  );
}

function criteriaOf(group, i) {
  if (!group.criteria_values.length) return null;
  return el("ul.criteria", {}, group.criteria_values.map(({ name, values }) => putText(el("li"), `${name}: ${values[i]}`)));
}

/** P(best) as a bar; the whisker says where it would be, had the score moved by its spread over the orders. */
function buildMeter(verdict, i, judge) {
  const letter = isComparison ? el(`span.letter.judge-${judge}`, { title: index.judges[judge].file }, LETTERS[judge]) : null;
  if (!verdict || verdict.error) {
    return isComparison ? el("div.meter.none", {}, letter, verdict ? "failed" : "not in this file") : null;
  }
  const p = verdict.p_best[i];
  const score = verdict.scores[i];
  const spread = verdict.spread ? verdict.spread[i] : null;
  const said = `P(best) ${percent(p)}, score ${digits(score)}${spread === null ? "" : `, spread ${digits(spread)}`}`;
  const bar = svg("svg", { class: `bar judge-${judge}`, role: "img", "aria-label": said },
    svg("rect", { class: "track", width: "100%", height: "100%", rx: 4 }),
    svg("rect", { class: "fill", width: `${100 * p}%`, height: "100%", rx: 4 }));
  if (verdict.low) bar.append(...whisker(verdict.low[i], verdict.high[i]));
  return el(
    "div.meter",
    {},
    letter,
    bar,
    el("span.p", {}, percent(p)),
    el("span.score", { title: spread === null ? "score" : "score, and its spread over the orders" },
      isComparison ? `#${verdict.ranks[i]} · ` : "", digits(score), spread === null ? "" : ` ± ${digits(spread)}`),
  );
}

function whisker(low, high) {
  const line = (x1, x2, y1, y2) => svg("line", { class: "whisker", x1: `${100 * x1}%`, x2: `${100 * x2}%`, y1, y2 });
  return [line(low, high, "50%", "50%"), line(low, low, "20%", "80%"), line(high, high, "20%", "80%")];
}

/** A text, folded where it is long; `id` remembers that it was unfolded. */
function buildText(id, text, words = null) {
  const isLong = text.length > SHORT_CHARS || (text.match(/\n/g) || []).length > 20;
  const isFolded = isLong && !opened.has(id) && !words;
  const body = el(`div.text${isFolded ? ".folded" : ""}`, { dir: "auto" });
  if (!text) body.append(el("span.quiet", {}, "(empty)"));
  else if (words) for (const [piece, isShared] of words) putText(isShared ? body : body.appendChild(el("mark.only")), piece);
  else if (isFolded) putText(body, text.slice(0, FOLDED_CHARS), pattern);
  else putLong(body, text);
  if (!isFolded) return body;
  const open = () => {
    opened.add(id);
    body.parentNode.replaceWith(buildText(id, text));
  };
  return el("div.fold", {}, body,
    el("button.link", { type: "button", onclick: open }, `Show all ${text.length.toLocaleString("en")} characters`));
}

/** A text of any length: of long ones, only the pieces in sight are laid out. */
function putLong(body, text) {
  if (text.length <= PIECE_CHARS) return putText(body, text, pattern);
  for (let start = 0; start < text.length; ) {
    const end = endOfPiece(text, start);
    putText(body.appendChild(el("div.piece")), text.slice(start, end), pattern);
    start = end;
  }
  return body;
}

/** Behind a line break, or a space where there is none. */
function endOfPiece(text, start) {
  const most = start + PIECE_CHARS;
  if (most >= text.length) return text.length;
  for (const sign of ["\n", " "]) {
    const at = text.lastIndexOf(sign, most - 1);
    if (at > start) return at + 1;
  }
  return /[\ud800-\udbff]/.test(text[most - 1]) ? most + 1 : most; // not between the halves of a character
}

function toggleCompared(group, i) {
  const compared = comparedOf(group);
  const next = compared.includes(i) ? compared.filter((each) => each !== i) : [...compared, i].slice(-2);
  go({ d: next.join("-") }, { quiet: true });
}

/** The judge's best against the given best; against the second where they are the same, or nothing is given. */
function compareUsual() {
  const group = groupAt(selected);
  if (group.responses.length < 2) return;
  if (comparedOf(group).length === 2) return go({ d: "" }, { quiet: true });
  const order = orderOf(group, index.groups[selected].key);
  const given = group.given ? group.given.indexOf(Math.min(...group.given)) : -1;
  const hidden = isHidden(index.groups[selected].key);
  const other = given >= 0 && given !== order[0] && !hidden ? given : order[1];
  go({ d: `${order[0]}-${other}` }, { quiet: true });
}
