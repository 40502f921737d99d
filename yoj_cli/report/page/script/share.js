// One group as a page of its own, to send: the same style and script, and of the data only what the group needs.

/** What the page consists of besides its data, before anything was built. */
const shell = [...document.body.children]
  .filter((node) => node.type !== "application/json")
  .map((node) => node.cloneNode(true));

function savePage(place) {
  const { key } = index.groups[place];
  const name = `${key.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 60) || "group"}.html`;
  download(name, pageOf(place), "text/html");
  toast(`This group is saved as ${name}.`);
}

function pageOf(place) {
  const { key } = index.groups[place];
  const used = groupAt(place).turns.flatMap((turn) => turn.blocks).filter((block) => typeof block !== "string");
  const media = [...new Set(used.map((block) => block.media))];
  const alone = { ...index, report: `${index.report}-${key}`, alone: true, groups: [index.groups[place]] };
  const blocks = [
    ["index", asBlock(alone)],
    ["group-0", byId(`group-${place}`).textContent],
    ...media.flatMap((at) => [`media-${at}`, `large-${at}`]).filter(byId).map((id) => [id, byId(id).textContent]),
  ];
  const last = shell.length - 1; // the script, which reads the blocks before it
  const parts = shell.map((node) => {
    const copy = node.cloneNode(true);
    copy.querySelector("#overview")?.replaceChildren();
    return sourceOf(copy);
  });
  const data = blocks.map(([id, text]) => `<script type="application/json" id="${id}">${text}<\/script>`);
  return ["<!doctype html>", '<html lang="en">', sourceOf(document.head), "<body>", ...parts.slice(0, last), ...data, parts[last], "</body>", "</html>", ""].join("\n");
}

/** JSON that may stand inside a script element, as `yoj report` writes it. */
function asBlock(value) {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const sourceOf = (node) => node.outerHTML;

function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
