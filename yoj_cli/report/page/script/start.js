// Put together, and drawn again whenever the address or a mark changes.

function buildTheme() {
  const store = "yoj-report-theme";
  const root = document.documentElement;
  let theme = "";
  try {
    theme = localStorage.getItem(store) || "";
  } catch {
    // the system's
  }
  const isDark = () => (theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const apply = () => (theme ? root.setAttribute("data-theme", theme) : root.removeAttribute("data-theme"));
  byId("theme").addEventListener("click", () => {
    theme = isDark() ? "light" : "dark";
    apply();
    try {
      localStorage.setItem(store, theme);
    } catch {
      // for this visit only
    }
  });
  apply();
}

let drawnList = "";

function show() {
  const isGroups = state.v === "groups";
  byId("overview").hidden = isGroups;
  byId("to-overview").hidden = Boolean(index.alone);
  byId("groups").hidden = !isGroups;
  for (const [id, isHere] of [["to-overview", !isGroups], ["to-groups", isGroups]]) {
    if (isHere) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  }
  byId("to-groups").setAttribute("href", addressOf({ ...state, v: "groups" }));
  byId("to-overview").setAttribute("href", addressOf({ ...state, v: "overview" }));
  const n = marked().length;
  byId("n-marked").textContent = n ? String(n) : "";
  find();
  showFinder();
  if (!isGroups) return;
  showGroup();
  const list = JSON.stringify([shown, state.blind, [...marks]]);
  if (list !== drawnList) showList();
  drawnList = list;
  showSelected();
}

buildTheme();
buildFinder();
buildList();
buildLightbox();
buildExport();
buildKeys();
listeners.push(show);
matchMedia("(max-width: 899px)").addEventListener("change", show);
update();
document.documentElement.setAttribute("data-ready", "");
