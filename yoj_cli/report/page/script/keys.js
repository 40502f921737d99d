// Keys for reading without a mouse.

const KEYS = [
  ["j", "next group", () => step(1)],
  ["k", "previous group", () => step(-1)],
  ["n", "next group without a mark of yours", stepToUnmarked],
  ["/", "search", () => byId("search").focus()],
  ["1 … 9", "prefer the response with this number", null],
  ["0", "a tie: no response is better", () => withGroup((key) => prefer(key, "tie"))],
  ["s", "star", () => withGroup((key) => setMark(key, { star: !markOf(key).star }))],
  ["c", "comment", () => withGroup(() => byId("comment")?.focus())],
  ["d", "mark the words in which two responses differ", () => withGroup(compareUsual)],
  ["x", "unfold all long responses", () => withGroup(unfold)],
  ["h", "hide verdicts until you have chosen", toggleBlind],
  ["g", "overview, and back to the groups", () => go({ v: state.v === "groups" ? "overview" : "groups" })],
  ["e", "export your marks", openExport],
  ["?", "these keys", () => byId("help").showModal()],
  ["Esc", "leave a field, close what is open", null],
];

function withGroup(act) {
  if (state.v === "groups" && selected >= 0) act(index.groups[selected].key);
}

function stepToUnmarked() {
  const at = shown.indexOf(selected);
  const next = [...shown.slice(at + 1), ...shown.slice(0, at + 1)].find((place) => markOf(index.groups[place].key).preferred === null);
  if (next === undefined) toast("All groups found are marked.");
  else select(next, { quiet: true });
}

function unfold() {
  for (const button of byId("group").querySelectorAll(".fold > .link")) button.click();
}

function preferShown(at) {
  withGroup((key) => {
    const group = groupAt(selected);
    const order = orderOf(group, key);
    if (at < order.length) prefer(key, order[at]);
  });
}

const isTyping = (node) => node.matches?.("input, textarea, select");

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (byId("lightbox").open) {
    if (event.key === "ArrowLeft") stepFrame(-1);
    if (event.key === "ArrowRight") stepFrame(1);
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.target === byId("rows") && ["ArrowDown", "ArrowUp"].includes(event.key)) {
    event.preventDefault();
    return step(event.key === "ArrowDown" ? 1 : -1);
  }
  if (/^[1-9]$/.test(event.key)) return preferShown(Number(event.key) - 1);
  const found = KEYS.find(([key, , act]) => act && key === event.key);
  if (!found) return;
  event.preventDefault();
  if (["j", "k", "n"].includes(event.key) && state.v !== "groups") go({ v: "groups" });
  found[2]();
}

function buildKeys() {
  document.addEventListener("keydown", onKey);
  for (const [key, words] of KEYS) byId("keys").append(el("dt", {}, el("kbd", {}, key)), el("dd", {}, words));
  byId("open-help").addEventListener("click", () => byId("help").showModal());
}
