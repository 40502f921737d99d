// One picture or frame, as large as the page has it; arrow keys go through a clip.

let looked = null; // { place, frame }

function openLightbox(place, frame = 0) {
  looked = { place, frame };
  showLooked();
  if (!byId("lightbox").open) byId("lightbox").showModal();
}

function showLooked() {
  const { place, frame } = looked;
  const medium = mediumAt(place);
  const pictures = medium.enlarges ? largeAt(place) : medium.small;
  byId("lightbox-picture").src = pictures[frame];
  byId("lightbox-picture").alt = captionOf(medium, frame);
  byId("lightbox-caption").replaceChildren(
    putText(el("span"), captionOf(medium, frame)),
    medium.left_out === "large" ? " · the larger picture was left out of this page (--max-mb)" : "",
    medium.small.length > 1 ? " · ← → for the other frames" : "",
  );
}

function captionOf(medium, frame) {
  const size = medium.size ? ` · ${medium.size[0]} × ${medium.size[1]}` : "";
  const time = medium.times.length ? ` · ${secondsOf(medium.times[frame])}` : "";
  return `${medium.name}${time}${size}`;
}

function secondsOf(time) {
  const minutes = Math.floor(time / 60);
  const seconds = (time - 60 * minutes).toFixed(time % 1 && time < 600 ? 1 : 0);
  return minutes ? `${minutes}:${seconds.padStart(seconds.includes(".") ? 4 : 2, "0")}` : `${seconds} s`;
}

function stepFrame(by) {
  const n = mediumAt(looked.place).small.length;
  looked.frame = (looked.frame + by + n) % n;
  showLooked();
}

function buildLightbox() {
  byId("lightbox").addEventListener("click", (event) => {
    if (event.target.tagName !== "BUTTON") byId("lightbox").close();
  });
  byId("lightbox").addEventListener("close", () => byId("lightbox-picture").removeAttribute("src"));
}

/** The pictures and clips of a group, small. */
function buildMedium(place) {
  const medium = mediumAt(place);
  const kind = medium.kind === "image" ? "picture" : "clip";
  const name = putText(el("span.medium-name"), medium.name);
  if (medium.problem || !medium.small.length) {
    const why = medium.problem || "left out of this page (--max-mb)";
    return el("div.medium.missing", {}, el("b", {}, `No ${kind}: `), name, el("span.why", {}, ": ", putText(el("span"), why)));
  }
  const facts = [medium.size ? `${medium.size[0]} × ${medium.size[1]}` : "", medium.duration ? secondsOf(medium.duration) : ""];
  return el(
    `figure.medium.${kind}`,
    {},
    el("div.frames", {}, medium.small.map((source, frame) => buildFrame(place, medium, source, frame))),
    el("figcaption", {}, name, " ", el("span.quiet", {}, facts.filter(Boolean).join(" · "))),
  );
}

function buildFrame(place, medium, source, frame) {
  const time = medium.times.length ? secondsOf(medium.times[frame]) : "";
  const label = `Enlarge ${medium.name}${time ? ` at ${time}` : ""}`;
  return el(
    "button.frame",
    { type: "button", "aria-label": label, onclick: () => openLightbox(place, frame) },
    el("img", { src: source, alt: "", loading: "lazy", decoding: "async" }),
    time ? el("span.time", { "aria-hidden": "true" }, time) : null,
  );
}
