// One group, whole: what was asked, what was answered, and who says what is best.

let drawnGroup = ""; // what the article shows now

function showGroup() {
  const wanted = state.g ? places.get(state.g) : undefined;
  const article = byId("group");
  if (state.g && wanted === undefined) {
    selected = -1;
    drawnGroup = "";
    article.replaceChildren(putText(el("p.notice"), `This report has no group “${state.g}”.`));
    return;
  }
  selected = wanted !== undefined ? wanted : isNarrow() ? -1 : (shown[0] ?? -1);
  byId("groups").classList.toggle("chosen", Boolean(state.g));
  if (selected < 0) {
    drawnGroup = "";
    article.replaceChildren(shown.length ? el("p.empty", {}, "Choose a group.") : buildEmpty());
    return;
  }
  const { key } = index.groups[selected];
  const what = JSON.stringify([selected, state.d, state.q, state.re, state.blind, markOf(key).preferred, markOf(key).star, shown.indexOf(selected), shown.length]);
  if (what === drawnGroup) return;
  const isSame = drawnGroup && JSON.parse(drawnGroup)[0] === selected;
  drawnGroup = what;
  const focused = isSame ? focusIn(article) : null;
  article.replaceChildren(...buildGroup(selected));
  if (!isSame) article.scrollTop = 0;
  focused?.();
}

function buildEmpty() {
  return el("p.empty", {}, "No group to show. ", el("button.link", { type: "button", onclick: clearFinder }, "Clear the search and the filters"));
}

/** A way to give the focus back to what has it, once the group is drawn anew. */
function focusIn(article) {
  const node = document.activeElement;
  if (!article.contains(node) || node === article) return null;
  const at = [...article.querySelectorAll("button, textarea, a, summary")].indexOf(node);
  return () => [...article.querySelectorAll("button, textarea, a, summary")][at]?.focus({ preventScroll: true });
}

const isNarrow = () => matchMedia("(max-width: 899px)").matches;

function buildGroup(place, { forPrint = false } = {}) {
  const row = index.groups[place];
  const group = groupAt(place);
  return [
    buildHead(place, row, group, forPrint),
    ...buildStatements(row, group),
    el("section.prompt", { "aria-label": "Prompt" }, group.turns.map((turn, number) => buildTurn(group, turn, `${place}-turn-${number}`))),
    group.criteria.length ? el("ul.criteria", { "aria-label": "Criteria" }, group.criteria.map((text) => putText(el("li", { dir: "auto" }), text))) : null,
    ...buildResponses(place, group),
    forPrint ? buildPrintedComment(row.key) : buildComment(row.key),
    forPrint ? null : buildMore(row, group),
  ].filter(Boolean);
}

function buildHead(place, { key, n }, group, forPrint) {
  const mark = markOf(key);
  const at = shown.indexOf(place);
  const first = scored(group)[0];
  const facts = [countOf(n, "response")];
  if (first && first.order_agreement !== null && !isHidden(key)) {
    const n = first.order_agreement * first.orders;
    facts.push(`best in ${Number(n.toPrecision(3))} of ${countOf(first.orders, "order")}`);
  }
  return el(
    "header.group-head",
    {},
    forPrint ? null : el("button.back.small", { type: "button", onclick: () => go({ g: "", d: "" }) }, "← List"),
    putText(el("h2", { dir: "auto" }), key),
    el("span.quiet", {}, facts.join(" · "), at < 0 ? " · not among the groups found" : ` · ${(at + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`),
    forPrint ? null : el(
      "span.actions",
      {},
      el("button.small", { type: "button", "aria-label": "Previous group", title: "k", onclick: () => step(-1) }, "↑"),
      el("button.small", { type: "button", "aria-label": "Next group", title: "j", onclick: () => step(1) }, "↓"),
      el("button.small.star", { type: "button", "aria-pressed": mark.star ? "true" : "false", title: "s", onclick: () => setMark(key, { star: !mark.star }) }, mark.star ? "★ Starred" : "☆ Star"),
      el("button.small", { type: "button", title: "The address of this group in this report", onclick: () => copy(location.href.split("#")[0] + addressOf({ ...DEFAULTS, v: "groups", g: key }), "Address copied.") }, "Copy link"),
      el("button.small", { type: "button", title: "The group as text, for a mail or an issue", onclick: () => copy(textOf(place), "Group copied as text.") }, "Copy text"),
      el("button.small", { type: "button", title: "This group alone, as a small page to send", onclick: () => savePage(place) }, "Save page"),
    ),
  );
}

/** What each judge decided, in a sentence. */
function buildStatements(row, group) {
  if (isHidden(row.key)) {
    return [el("p.statement.blind", {}, "The verdict is hidden until you choose (1 to 9, or 0 for a tie). ",
      el("button.link", { type: "button", onclick: () => go({ blind: "" }, { quiet: true }) }, "Show verdicts"))];
  }
  return group.verdicts.map((verdict, judge) => {
    const letter = isComparison ? el(`span.letter.judge-${judge}`, { title: index.judges[judge].file }, LETTERS[judge]) : null;
    if (verdict === null) return el("p.statement.missing", {}, letter, "This file does not hold the group.");
    if (verdict.error) {
      return el("p.statement.failed", {}, letter, outcomeSign(row.verdicts[judge]), putText(el("span", { dir: "auto" }), `${verdict.error.type}: ${verdict.error.message}`));
    }
    return el("p.statement", {}, letter, outcomeSign(row.verdicts[judge]), ...sentenceOf(row.verdicts[judge], verdict, group));
  });
}

function sentenceOf(found, verdict, group) {
  const name = (i) => putName(el("b", { dir: "auto" }), group.names[i]);
  const list = (all) => all.flatMap((i, at) => (at ? [at === all.length - 1 ? " and " : ", ", name(i)] : [name(i)]));
  const chooses = found.abstained ? "The judge abstains; its first is " : "The judge chooses ";
  const said = [chooses, ...list(found.best), ` (P(best) ${percent(verdict.p_best[found.best[0]])})`];
  if (found.outcome === "unranked") return [...said, group.given ? "; the given ranking calls all equal." : "; no ranking is given."];
  const gold = group.given.flatMap((rank, i) => (rank === Math.min(...group.given) ? [i] : []));
  if (found.outcome === "right") return [...said, gold.length > 1 ? ", one of the given best." : ", the given best."];
  return [...said, "; the given best is ", ...list(gold), ` (${percent(Math.max(...gold.map((i) => verdict.p_best[i])))}).`];
}

function buildTurn(group, turn, id) {
  const isOnly = group.turns.length === 1;
  return el(
    `div.turn.${["system", "developer", "user", "assistant", "tool"].includes(turn.role) ? turn.role : "user"}`,
    {},
    isOnly ? null : el("span.role", {}, turn.role),
    buildBlocks(turn.blocks, id),
  );
}

/** Texts and media in their order; media in a row stand in a row. */
function buildBlocks(blocks, id) {
  const nodes = [];
  for (const [at, block] of blocks.entries()) {
    if (typeof block === "string") nodes.push(buildText(`${id}-${at}`, block));
    else if (nodes.at(-1)?.className === "media") nodes.at(-1).append(buildMedium(block.media));
    else nodes.push(el("div.media", {}, buildMedium(block.media)));
  }
  return nodes;
}

function buildComment(key) {
  const field = el("textarea", {
    id: "comment",
    rows: 2,
    placeholder: "Why? What should a colleague see here?",
    onchange: (event) => setMark(key, { comment: event.target.value.trim() }),
  });
  field.value = markOf(key).comment;
  return el("label.field.comment", {}, "Your comment ", el("kbd", { "aria-hidden": "true" }, "c"), field);
}

function buildPrintedComment(key) {
  const { comment } = markOf(key);
  return comment ? putText(el("p.statement", { dir: "auto" }), `Comment: ${comment}`) : null;
}

/** Everything else that the line holds, and who judged it. */
function buildMore(row, group) {
  const facts = group.verdicts.map((verdict, judge) => (verdict ? `${index.judges[judge].file}: ${verdict.where}` : "")).filter(Boolean);
  return el(
    "details.more",
    {},
    el("summary", {}, "All fields of the line"),
    el("p.quiet", {}, putText(el("span"), facts.join(" · "))),
    putLong(el("pre", { tabindex: 0, "aria-label": "Fields" }), group.fields),
  );
}

/** A group as text, for a mail or an issue. */
function textOf(place) {
  const { key, verdicts } = index.groups[place];
  const group = groupAt(place);
  const lines = [`Group ${key}`, ""];
  for (const turn of group.turns) {
    const texts = turn.blocks.map((block) => (typeof block === "string" ? block : `[${mediumAt(block.media).name}]`));
    lines.push(`${turn.role}: ${texts.join(" ")}`);
  }
  for (const i of orderOf(group, key)) {
    const said = group.verdicts.flatMap((verdict, judge) =>
      verdict && !verdict.error ? [`${isComparison ? `${LETTERS[judge]}: ` : ""}rank ${verdict.ranks[i]}, P(best) ${percent(verdict.p_best[i])}, score ${verdict.scores[i].toFixed(3)}`] : []);
    if (group.given) said.push(`given ${group.given[i]}`);
    lines.push("", `--- ${group.names[i]} (${said.join("; ")})`, group.responses[i]);
  }
  for (const [judge, verdict] of verdicts.entries()) {
    if (verdict) lines.push("", `${isComparison ? `${LETTERS[judge]}: ` : ""}${OUTCOMES[verdict.outcome][1]}`);
  }
  if (markOf(key).comment) lines.push("", `Comment: ${markOf(key).comment}`);
  return lines.join("\n");
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    toast("This browser lets no page copy: use the address bar, or select the text.");
  }
}
