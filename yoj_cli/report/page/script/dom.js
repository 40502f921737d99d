// Elements out of data. Whatever comes from the data goes through text nodes: none of it is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** el("p.quiet", { title: "…", onclick: f }, "text", node …) */
function el(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  setAttributes(node, attributes);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
}

const byId = (id) => document.getElementById(id);

// What is shown as a sign instead of being acted on: control characters, what turns the writing direction, invisible
// spaces and tags. Line breaks and tabs stay.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]|[\u{e0000}-\u{e007f}]/gu;

const CONTROLS = (
  "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US"
).split(" ");

function signOf(char) {
  const code = char.codePointAt(0);
  if (code < 0x20) return CONTROLS[code];
  if (code === 0x7f) return "DEL";
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

const MAX_HITS = 500;

/** Put a text into a node, as it is; what the search found in it is marked, at most MAX_HITS times. */
function putText(node, text, pattern = null) {
  if (!pattern) return putPlain(node, text);
  let end = 0;
  let n = 0;
  for (const match of text.matchAll(pattern)) {
    if (!match[0]) continue;
    if (++n > MAX_HITS) break;
    putPlain(node, text.slice(end, match.index));
    putPlain(node.appendChild(el("mark.hit")), match[0]);
    end = match.index + match[0].length;
  }
  return putPlain(node, text.slice(end));
}

function putPlain(node, text) {
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    node.append(text.slice(end, match.index));
    const name = `U+${match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    node.append(el("span.unseen", { title: `character ${name}` }, signOf(match[0])));
    end = match.index + match[0].length;
  }
  node.append(text.slice(end));
  return node;
}

const NAME_CHARS = 80;

/** What a response is called, on one line; the whole name is its title. */
function putName(node, name) {
  if (name.length <= NAME_CHARS) return putText(node, name);
  node.title = name.slice(0, 2000);
  return putText(node, `${name.slice(0, NAME_CHARS)}…`);
}

function countOf(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/** As in the tables of `yoj score`: nothing that is not certain reads 0 % or 100 %. */
function percent(p) {
  if (p > 0 && p < 0.005) return "<1%";
  if (p >= 0.995 && p < 1) return ">99%";
  return `${Math.round(100 * p)}%`;
}

/** A score or a spread, with a real minus. */
const digits = (value) => value.toFixed(3).replace("-", "−");

function toast(text) {
  const node = byId("toast");
  node.textContent = text;
  node.classList.add("seen");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => node.classList.remove("seen"), 2600);
}
