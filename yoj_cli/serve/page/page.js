"use strict";
/* One group, typed in and ranked by POST /v1/groups, which is what everybody else uses. Texts of the judge's server and
   of the user become text nodes alone. */
(() => {
  const $ = (id) => document.getElementById(id);
  const media = []; // {kind: "image" | "video", url: a data: URL, name}
  const FEWEST = 2;
  const SHOWN_URL_CHARS = 40;
  let asking = null;

  function make(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  /* ---- the form ---- */

  function nameOf(place) {
    return place < 26 ? String.fromCharCode(65 + place) : String(place + 1);
  }

  function answers() {
    return [...$("answers").querySelectorAll("textarea")];
  }

  function renumber() {
    [...$("answers").children].forEach((row, place) => {
      row.querySelector(".name").textContent = nameOf(place);
      row.querySelector("textarea").setAttribute("aria-label", `Answer ${nameOf(place)}`);
      const remove = row.querySelector(".remove");
      remove.setAttribute("aria-label", `Remove answer ${nameOf(place)}`);
      remove.disabled = $("answers").children.length <= 1;
    });
    showRequest();
  }

  function addAnswer(text = "") {
    const remove = make("button", { type: "button", className: "remove", textContent: "✕" });
    const row = make("li", {}, make("span", { className: "name" }), make("textarea", { rows: 2, value: text }), remove);
    remove.addEventListener("click", () => {
      row.remove();
      renumber();
    });
    $("answers").append(row);
    renumber();
    return row.querySelector("textarea");
  }

  function showMedia() {
    $("media").replaceChildren(
      ...media.map((one, place) => {
        const shown =
          one.kind === "image"
            ? make("img", { src: one.url, alt: one.name })
            : make("video", { src: one.url, controls: true, muted: true });
        if (one.kind === "video") shown.setAttribute("aria-label", one.name);
        const remove = make("button", { type: "button", className: "remove", textContent: "✕" });
        remove.setAttribute("aria-label", `Remove ${one.name}`);
        remove.addEventListener("click", () => {
          media.splice(place, 1);
          showMedia();
        });
        return make("li", {}, shown, remove);
      }),
    );
    showRequest();
  }

  function read(file) {
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.addEventListener("load", () => resolve(reader.result));
      reader.addEventListener("error", () => reject(reader.error));
      reader.readAsDataURL(file);
    });
  }

  async function addFiles(files) {
    for (const file of files) {
      const kind = file.type.split("/")[0];
      if (kind !== "image" && kind !== "video") {
        showProblem(`${file.name} is neither a picture nor a clip.`);
        continue;
      }
      try {
        media.push({ kind, url: await read(file), name: file.name });
      } catch (error) {
        showProblem(`${file.name} cannot be read: ${error.message}`);
      }
    }
    showMedia();
  }

  function record() {
    const found = {};
    const prompt = $("prompt").value;
    const of = (kind) => media.filter((one) => one.kind === kind).map((one) => one.url);
    if (prompt || !media.length) found.prompt = prompt;
    if (of("image").length) found.images = of("image");
    if (of("video").length) found.videos = of("video");
    found.responses = answers().map((answer) => answer.value);
    return found;
  }

  function showRequest() {
    const shorter = (key, value) =>
      typeof value === "string" && value.startsWith("data:") ? `${value.slice(0, SHOWN_URL_CHARS)}…` : value;
    const body = JSON.stringify(record(), shorter, 1).replaceAll("'", "'\\''");
    const key = $("key").value ? "  -H \"Authorization: Bearer $YOJ_API_KEY\" \\\n" : "";
    const address = new URL("v1/groups", location.href);
    $("request").textContent =
      `curl ${address} \\\n  -H 'Content-Type: application/json' \\\n${key}  -d '${body}'`;
  }

  /* ---- the server ---- */

  function headers() {
    const key = $("key").value;
    return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  }

  async function ask(path, options = {}) {
    const answer = await fetch(path, { headers: headers(), ...options });
    if (answer.status === 401 || answer.status === 403) $("key-field").hidden = false;
    const found = await answer.json();
    if (answer.ok) return found;
    throw new Error([found.detail || found.title, found.hint].filter(Boolean).join("\n"));
  }

  async function showJudge() {
    try {
      const { data } = await ask("v1/models");
      const judge = data[0].judge || {};
      const parts = [data[0].id, judge.mode, judge.orders > 1 && `${judge.orders} orders`, judge.quant, judge.device];
      $("judge").textContent = parts.filter((part) => part && part !== "none").join(" · ");
    } catch (error) {
      $("judge").textContent = error.message;
    }
  }

  async function rank() {
    if (asking) asking.abort();
    const mine = (asking = new AbortController());
    const sent = record();
    $("verdict").setAttribute("aria-busy", "true");
    $("rank").disabled = true;
    try {
      const found = await ask("v1/groups", { method: "POST", body: JSON.stringify(sent), signal: mine.signal });
      if (found.error) throw new Error(found.error.message);
      showVerdict(sent.responses, found);
    } catch (error) {
      if (error.name !== "AbortError") showProblem(error.message);
    } finally {
      if (asking === mine) {
        asking = null;
        $("rank").disabled = false;
        $("verdict").removeAttribute("aria-busy");
      }
    }
  }

  /* ---- the verdict ---- */

  function showProblem(text) {
    $("verdict").replaceChildren(make("p", { className: "problem", textContent: text }));
  }

  function percent(share) {
    return share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
  }

  function showVerdict(responses, found) {
    const order = responses.map((_, place) => place).sort((a, b) => found.ranks[a] - found.ranks[b] || a - b);
    const rows = order.map((place) => {
      const isBest = found.ranks[place] === 1;
      const spread = found.spread ? ` ± ${found.spread[place].toFixed(3)}` : "";
      const p = found.p_best[place];
      const meter = make("meter", { min: 0, max: 1, value: p, textContent: percent(p) });
      meter.setAttribute("aria-label", `P(best) of ${nameOf(place)}`);
      return make(
        "li",
        { className: isBest ? "best" : "" },
        make(
          "div",
          { className: "line" },
          make("span", { className: "place", textContent: `${found.ranks[place]}.` }),
          make("strong", { textContent: nameOf(place) }),
          make("span", { className: "quiet", textContent: `score ${found.scores[place].toFixed(3)}${spread}` }),
          make("span", { className: "p", textContent: percent(p), title: "P(best)" }),
        ),
        meter,
        make("p", { className: "text", textContent: responses[place] }),
      );
    });
    const list = make("ol", { className: "ranked" }, ...rows);
    const agreement = found.order_agreement;
    const note =
      agreement === undefined ? "" : `The same answer is best in ${percent(agreement)} of the orders that were read.`;
    $("verdict").replaceChildren(list, ...(note ? [make("p", { className: "quiet", textContent: note })] : []));
  }

  /* ---- an example, drawn here ---- */

  function drawScene() {
    const canvas = make("canvas", { width: 168, height: 168 });
    const pen = canvas.getContext("2d");
    pen.fillStyle = "rgb(238, 236, 230)";
    pen.fillRect(0, 0, 168, 168);
    pen.fillStyle = "rgb(220, 40, 40)";
    pen.beginPath();
    pen.arc(28, 28, 22, 0, 2 * Math.PI);
    pen.fill();
    pen.fillStyle = "rgb(45, 90, 225)";
    pen.fillRect(120, 120, 40, 40);
    return canvas.toDataURL("image/png");
  }

  function fillExample() {
    media.splice(0, media.length, { kind: "image", url: drawScene(), name: "A drawn scene" });
    $("prompt").value = "Describe this image.";
    $("answers").replaceChildren();
    for (const text of [
      "In the top left a blue circle and in the bottom right a red square.",
      "In the top left a red circle and in the bottom right a blue square.",
      "In the top left a red star and in the center a blue square.",
    ])
      addAnswer(text);
    showMedia();
  }

  /* ---- what happens when ---- */

  $("group").addEventListener("submit", (event) => {
    event.preventDefault();
    rank();
  });
  $("group").addEventListener("input", showRequest);
  $("add").addEventListener("click", () => addAnswer().focus());
  $("example").addEventListener("click", fillExample);
  $("choose").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", async () => {
    await addFiles([...$("files").files]);
    $("files").value = "";
  });
  $("key").addEventListener("change", showJudge);
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText($("request").textContent);
      $("copied").textContent = "Copied; pictures are cut short in it.";
    } catch {
      $("copied").textContent = "The browser refused; select the text instead.";
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      rank();
    }
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") addFiles([...event.dataTransfer.files]);
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) addFiles(files);
  });

  for (let place = 0; place < FEWEST; place += 1) addAnswer();
  showJudge();
  document.documentElement.dataset.ready = "";
})();
