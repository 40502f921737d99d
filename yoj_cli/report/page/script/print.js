// On paper: the overview, or the groups found, whole.

const MAX_PRINTED = 200;

window.addEventListener("beforeprint", () => {
  const paper = byId("printed");
  paper.replaceChildren();
  if (state.v !== "groups") return;
  const printed = shown.slice(0, MAX_PRINTED);
  const all = countOf(shown.length, "group");
  paper.append(el("p.quiet", {}, printed.length < shown.length ? `The first ${MAX_PRINTED} of ${all}.` : `${all}.`));
  for (const place of printed) paper.append(el("article.group", {}, ...buildGroup(place, { forPrint: true })));
  for (const picture of paper.querySelectorAll("img")) picture.loading = "eager";
});

window.addEventListener("afterprint", () => byId("printed").replaceChildren());
