// The address holds what is seen: #v=groups&q=cat&f=wrong,picture&s=regret&g=owl-17&d=0-2

const DEFAULTS = { v: index.alone ? "groups" : "overview", q: "", re: "", f: "", s: "file", g: "", d: "", blind: "" };
let state = { ...DEFAULTS };
const listeners = [];

function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const found = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (said.has(name)) found[name] = said.get(name);
  if (!said.has("v") && ["q", "f", "s", "g"].some((name) => said.has(name))) found.v = "groups";
  if (found.v !== "groups") found.v = DEFAULTS.v;
  return found;
}

function addressOf(next) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(next)) if (value !== DEFAULTS[name] || name === "v") said.set(name, value);
  return `#${said}`;
}

/** Change what is seen. `quiet` leaves no step for the browser's Back. */
function go(changes, { quiet = false } = {}) {
  const next = { ...state, ...changes };
  const address = addressOf(next);
  if (address === location.hash) return;
  history[quiet ? "replaceState" : "pushState"](null, "", address);
  update();
}

function update() {
  const before = state;
  state = readAddress();
  for (const listener of listeners) listener(before);
}

window.addEventListener("hashchange", update);
window.addEventListener("popstate", update);
