// Puts the page together: which run is shown, and its charts and tables.

const data = JSON.parse(document.getElementById("data").textContent);
const place = (id) => document.getElementById(id);
let [chosen, question, redraw] = [0, 0, []];

/** The entries of the chosen question, with their numbers: constants of different questions are not compared. */
const listed = () => [...data.entries.entries()].filter(([, entry]) => entry.question === question);

/** A drop-down list in `host`, hidden where there is nothing to choose. */
function chooser(host, label, options, current, change) {
  host.hidden = options.length < 2;
  const select = element("select", { "aria-label": label });
  for (const [value, words] of options) select.append(element("option", { value }, words));
  select.value = String(current);
  select.addEventListener("change", () => change(Number(select.value)));
  host.replaceChildren(element("label", {}, `${label} `, select));
}

function showOverview() {
  const rows = listed();
  const measuredRuns = rows.filter(([, entry]) => entry.metric);
  const names = new Set(measuredRuns.map(([, entry]) => entry.metric.title));
  const metric = names.size === 1 ? { ...measuredRuns[0][1].metric, share: measuredRuns.every(([, entry]) => entry.metric.share) } : null;
  place("pareto-title").textContent = `${!metric ? "Metric" : metric.share ? "Accuracy" : metric.title} against the true constant.`;
  place("pareto-words").textContent = metric?.share ? "Up and to the left is better; the line, the Pareto front, joins the runs that no other beats in both." : "";
  const bounds = new Set(rows.map(([, entry]) => entry.bound));
  const cell = (name, c, help, number = true) => ({ name, help, number, words: (i) => rows[i][1].row[c]?.[0] ?? "n/a", value: (i) => rows[i][1].row[c]?.[1] ?? null });
  const columns = [
    { name: "run", words: (i) => rows[i][1].label, value: (i) => rows[i][1].label },
    ...(bounds.size > 1 ? [{ name: "bound", words: (i) => rows[i][1].bound, value: (i) => rows[i][1].bound, choose: true }] : []),
    { name: "seed", number: true, words: (i) => String(rows[i][1].seed ?? "n/a"), value: (i) => rows[i][1].seed, choose: true },
    { name: "weight", number: true, words: (i) => rows[i][1].weight === null ? "changed" : short(rows[i][1].weight), value: (i) => rows[i][1].weight, choose: true },
    ...(measuredRuns.length ? [cell(data.metric, 0, "Of the run, as its training logged it"), cell("twin's", 1, "The same of its twin")] : []),
    cell("mean bound", 2, "Upper end of the penalised bound"),
    cell("exact", 3, "Mean certified interval of the exact constant"),
    cell("bound moved", 4, "Bound over the twin's bound"),
    cell("truth moved", 5, "Exact constant over the twin's"),
    cell("transfer", 6, "1: the truth moved with the bound; 0: the bound alone"),
    cell("certified", 7, "Share of the points whose interval is exact"),
  ];
  drawPareto(place("pareto"), rows, data.sides, metric, () => chosen, choose);
  drawTransfers(place("transfers"), rows, () => chosen, choose);
  const fill = makeTable(place("runs-table"), columns, { rows: rows.length, caption: "all runs", act: (i) => choose(rows[i][0], true), chosen: (i) => rows[i][0] === chosen });
  showSeeds();
  redraw = [() => drawPareto(place("pareto"), rows, data.sides, metric, () => chosen, choose), () => drawTransfers(place("transfers"), rows, () => chosen, choose), fill];
}

/** What runs of several seeds say together. */
function showSeeds() {
  const groups = data.groups.filter((group) => group.question === question);
  place("seeds").hidden = !groups.length;
  const columns = [
    { name: "runs", words: (i) => groups[i].name, value: (i) => groups[i].name },
    { name: "seeds", number: true, words: (i) => String(groups[i].runs), value: (i) => groups[i].runs },
    ...data.groupColumns.map((name, c) => ({ name, number: true, words: (i) => groups[i].cells[c][0], value: (i) => groups[i].cells[c][1] })),
  ];
  if (groups.length) makeTable(place("seeds-table"), columns, { rows: groups.length, caption: "means over seeds" });
}

function choose(index, scroll = false) {
  chosen = index;
  showEntry();
  redraw.forEach((draw) => draw());
  if (scroll) place("single").scrollIntoView({ behavior: "smooth" });
}

/** A figure's key: colours say which run, line styles which quantity. */
function key(sides) {
  const items = sides.length > 1 ? [["run swatch", "regularised"], ["twin swatch", "twin"]] : [];
  for (const [style, words] of [["bound", "bound"], ["LP", "LP relaxation"], ["exact", "exact, certified band"]])
    items.push([`sample ${style}`, words]);
  return element("span", { class: "key" }, ...items.map(([style, words]) => element("span", {}, element("i", { class: style }), words)));
}

function showEntry() {
  const entry = data.entries[chosen];
  const sides = entry.sides.map((index) => data.sides[index]);
  for (const section of document.querySelectorAll("section.entry")) section.hidden = Number(section.dataset.entry) !== chosen;
  chooser(place("entries"), "Run", listed().map(([i, e]) => [i, e.label]), chosen, (i) => choose(i));
  place("single-title").textContent = data.entries.length > 1 ? `One run: ${entry.label}` : "The run";
  place("trajectory-words").replaceChildren("Means over the reference points. ", key(sides));
  drawTrajectory(place("trajectory"), sides);
  place("accuracy-figure").hidden = !entry.metric;
  place("accuracy-title").textContent = !entry.metric ? "" : entry.metric.share ? `${entry.metric.title[0].toUpperCase()}${entry.metric.title.slice(1)}.` : `${entry.metric.title}.`;
  if (entry.metric) drawMetric(place("accuracy"), sides, entry.metric);
  place("transfer-figure").hidden = !entry.transfer.length;
  if (entry.transfer.length) drawTransfer(place("transfer"), entry);
  const epochs = [...new Set(sides.flatMap((side) => Object.keys(side.points).map(Number)))].sort((a, b) => a - b);
  if (epochs.length) showPoints(entry, sides, epochs, entry.transfer.at(-1)?.[0] ?? epochs.at(-1));
}

function showPoints(entry, sides, epochs, epoch) {
  chooser(place("epochs"), "After epoch", epochs.map((e) => [e, String(e)]), epoch, (e) => showPoints(entry, sides, epochs, e));
  const moved = sides.length > 1 && sides.every((side) => side.points[epoch]) ? " Each line leads from the twin to the regularised run at one point." : "";
  place("scatter-words").textContent = `After ${counted(epoch, "epoch")}. On the diagonal a bound is perfect.${moved}`;
  drawScatter(place("scatter"), sides, String(epoch));
  const rows = sides.flatMap((side, s) => (side.points[epoch] ?? []).map((p) => [p, s])).sort((a, b) => a[0][0] - b[0][0] || a[1] - b[1]);
  const moves = new Map((entry.moves[epoch] ?? []).map((move) => [move[0], move]));
  const move = (i, part) => (rows[i][1] === 0 ? (moves.get(rows[i][0][0])?.[part] ?? null) : null);
  const number = (name, column, up, help) => ({ name, help, number: true, value: (i) => rows[i][0][column], words: (i) => (rows[i][0][column] === null && column !== 2 && column !== 5 ? "n/a" : outward(rows[i][0][column], up, 4)) });
  const words = (name, column, help) => ({ name, help, value: (i) => rows[i][0][column], words: (i) => String(rows[i][0][column]) });
  const columns = [
    { name: "point", number: true, value: (i) => rows[i][0][0], words: (i) => String(rows[i][0][0]) },
    ...(sides.length > 1 ? [{ name: "run", value: (i) => rows[i][1], words: (i) => sides[rows[i][1]].role, mark: (i) => ROLE[sides[rows[i][1]].role] }] : []),
    number("bound", 2, true, "Upper end of the penalised bound"),
    number("lower", 4, false, "A witness attains it"),
    number("upper", 5, true, "A proof holds for it"),
    words("certificate", 9, "exact: the two ends meet"),
    ...(rows.some(([p]) => p[8] !== null) ? [{ name: "class right", value: (i) => String(rows[i][0][8]), words: (i) => ({ true: "yes", false: "no" })[rows[i][0][8]] ?? "n/a" }] : []),
    ...(rows.some(([p]) => p[6] !== null) ? [number("radius", 6, false, "Certified radius: no smaller change alters the class")] : []),
    ...(entry.moves[epoch] ? [{ name: "transfer", number: true, value: (i) => move(i, 2), words: (i) => move(i, 1) ?? "" }] : []),
    number("LP", 3, true, "Upper end of the LP relaxation"),
    words("status", 10, "How the work ended"),
    words("functional", 11, "What of the output is measured"),
  ];
  makeTable(place("points-table"), columns, { rows: rows.length, caption: "reference points" });
}

function showRecords() {
  const { columns: of, strings, pictures } = data.records;
  const text = (name) => (i) => strings[of[name][i]];
  const words = (name, more = {}) => ({ name, value: text(name), words: text(name), ...more });
  const number = (name, more = {}) => ({ name, number: true, value: (i) => of[name][i], words: (i) => String(of[name][i]), ...more });
  const label = new Map();
  for (const entry of data.entries)
    for (const s of entry.sides) if (!label.has(s)) label.set(s, data.entries.length > 1 ? entry.label : data.sides[s].name);
  const side = (i) => data.sides[of.side[i]];
  const several = data.entries.length > 1;
  const columns = [
    { name: "run", value: (i) => label.get(of.side[i]), words: (i) => label.get(of.side[i]), choose: true },
    ...(several ? [{ name: "role", value: (i) => side(i).role, words: (i) => side(i).role, mark: (i) => ROLE[side(i).role], choose: true }] : []),
    number("epoch", { choose: true }),
    number("point", { choose: true }),
    words("estimator", { choose: true, help: "'exact' is what all estimators together prove" }),
    { name: "lower", number: true, value: (i) => of.lower[i], words: (i) => outward(of.lower[i], false), help: "A witness attains it" },
    { name: "upper", number: true, value: (i) => of.upper[i], words: (i) => outward(of.upper[i], true), help: "A proof holds for it" },
    words("certificate", { choose: true, help: "What is proved" }),
    words("status", { choose: true, help: "How the work ended" }),
    { name: "seconds", number: true, value: (i) => of.seconds[i], words: (i) => of.seconds[i].toFixed(2) },
  ];
  const detail = (i) => {
    const told = [
      ["functional", text("functional")(i)],
      ["interval", `[${of.lower[i]}, ${of.upper[i] ?? "not proved"}]`],
      ["proof of the upper end", text("proof")(i) || "none"],
      ["how", text("detail")(i) || "n/a"],
      ["engine", text("engine")(i) || "several"],
      ["what the status says", data.statuses[text("status")(i)] ?? "Written by another version of lipreg."],
      ["class", `${of.label[i] < 0 ? "none" : of.label[i]}` + (of.margin[i] === null ? "" : `, margin ${short(of.margin[i])}`)],
      ["record", `${side(i).file}, run ${side(i).name}` + (of.resumed[i] ? ", resumed" : "")],
    ];
    const list = element("dl", {}, ...told.flatMap(([term, meaning]) => [element("dt", {}, term), element("dd", {}, meaning)]));
    return element("div", { class: "certificate" }, list, pictures[i] ? picture(pictures[i]) : null);
  };
  makeTable(place("records-table"), columns, { rows: of.epoch.length, caption: "audit records", detail });
}

/** A witness as the image that it is, in 8 bits. */
function picture([side, channels, code]) {
  const values = Uint8Array.from(atob(code), (c) => c.charCodeAt(0));
  const canvas = element("canvas", { width: side, height: side, role: "img", "aria-label": "witness" });
  const area = canvas.getContext("2d");
  const image = area.createImageData(side, side);
  const plane = channels === 3 ? side * side : 0; // channels first, as torch has them
  for (let p = 0; p < side * side; p++) {
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = values[p + c * plane];
    image.data[4 * p + 3] = 255;
  }
  area.putImageData(image, 0, 0);
  return element("figure", { class: "witness" }, canvas, element("figcaption", {}, "witness of the lower end"));
}

chooser(place("questions"), "Question", data.questions.map((q, i) => [i, q]), question, (q) => {
  question = q;
  chosen = listed()[0][0];
  showOverview();
  showEntry();
});
document.documentElement.classList.add("drawn");
if (data.entries.length > 1) showOverview();
showEntry();
showRecords();
