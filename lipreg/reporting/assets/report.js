// Puts the page together: which run is shown, and its charts and tables.

const data = JSON.parse(document.getElementById("data").textContent);
const place = (id) => document.getElementById(id);
data.entries.forEach((entry, number) => Object.assign(entry, { number, sides: entry.sides.map((side) => data.sides[side]) }));
let [chosen, question, scaled, redraw] = [data.entries[0], 0, true, []];
const told = place("words").textContent.split(/(?=<section class="entry")/); // text for a browser with scripts: to read thousands of runs as a page takes seconds
const made = new Map();
const [SCALE_FREE, AS_THEY_ARE, OF_AUDIT] = ["scale-free", "in units of the output", "of audit and training"];

/** The entries of the chosen question: constants of different questions are not compared. */
const listed = () => data.entries.filter((entry) => entry.question === question);

/** How constants are shown: times T where that is chosen and known of any of these entries, else as they are. */
function viewOf(entries) {
  const unit = (scaled && entries.map((entry) => entry.unit).find(Boolean)) || null;
  return {
    scaled: unit !== null,
    unit: unit ?? AS_THEY_ARE,
    sidesOf: (entry) => (unit === null ? entry.sides : entry.sides.map(calibrated)),
    transferOf: (entry) => (unit === null ? entry.transfer : entry.calibratedTransfer),
  };
}

/** Whether T is known at half of the audits of an entry's sides at least: else a page opens on the constants as they are. */
const mostlyScaled = (entry) => entry.sides.every(({ course }) => 2 * course.filter((row) => row.factor !== null).length >= course.length);

/** Whether constants are multiplied by T, for charts; there is no choice where no T is known. */
function showUnits() {
  const unit = listed().map((entry) => entry.unit).find(Boolean);
  const options = unit ? [{ value: 1, words: unit }, { value: 0, words: AS_THEY_ARE }] : [];
  chooser(place("units"), "Constants in charts", options, Number(scaled), (choice) => {
    scaled = Boolean(choice);
    writeLink({ units: choice });
    if (data.entries.length > 1) showOverview();
    showEntry();
  });
}

/** A drop-down list in `host`, hidden where there is nothing to choose. */
function chooser(host, label, options, current, change) {
  host.hidden = options.length < 2;
  const select = element("select", { "aria-label": label });
  for (const { value, words } of options) select.append(element("option", { value }, words));
  select.value = String(current);
  select.addEventListener("change", () => change(Number(select.value)));
  host.replaceChildren(element("label", {}, `${label} `, select));
}

function showOverview() {
  const rows = listed();
  const metrics = rows.map((entry) => entry.metric).filter(Boolean);
  const metric = commonMetric(rows);
  place("pareto-title").textContent = `${!metric ? "Metric" : metric.share ? "Accuracy" : metric.title} against the true constant.`;
  const better = metric?.share ? "Up and to the left is better; the line, the Pareto front, joins the runs that no other beats in both. " : "";
  place("pareto-key").replaceChildren(colours([...new Set(rows.flatMap((entry) => entry.sides.map(({ role }) => role)))]));
  const bounds = new Set(rows.map((entry) => entry.bound));
  const view = viewOf(rows);
  place("pareto-words").textContent = `Constants are means over the points. ${better}${metric ? notDrawn(rows, view, metric) : ""}`;
  const compared = transfersOf(rows, view).length > 0;
  place("transfers").hidden = !compared;
  place("transfers-title").textContent = compared ? `Transfer of each run, ${view.unit}.` : "No transfer.";
  place("transfers-words").textContent = compared
    ? "1: what came off the bound came off the truth. 0: only the bound moved."
    : "It says how much of what came off the bound came off the truth, against a run's twin, and none of these runs is compared with one.";
  const cell = (group, name, key, help) => ({ group, key, name, help, number: true, words: (entry) => entry.row[key]?.words ?? "n/a", value: (entry) => entry.row[key]?.value ?? null });
  const logged = (group) => [cell(group, data.metric, "metric", "Of the run, as its training logged it"), cell(group, "twin's", "twins", "The same of its twin")];
  const columns = [
    { name: "run", value: (entry) => entry.label },
    ...(bounds.size > 1 ? [{ name: "bound", value: (entry) => entry.bound, choose: true }] : []),
    ...(metric?.share ? logged(SCALE_FREE) : []),
    cell(SCALE_FREE, "margin over constant", "margin", "Median over the points: how far away another class is, by the network's own constant"),
    cell(SCALE_FREE, "/ twin's", "marginRatio", "Margin over constant, over the twin's"),
    cell(SCALE_FREE, "calibrated", "calibrated", "Mean of combined times T; of regression in standard deviations"),
    cell(SCALE_FREE, "calibrated moved", "calibratedMoved", "Calibrated constant over the twin's; worse: accuracy or likelihood is, so that a smaller constant does not count"),
    cell(SCALE_FREE, "calibrated transfer", "calibratedTransfer", "Of the calibrated constants. 1: the truth moved with the bound; 0: the bound alone"),
    cell(SCALE_FREE, "certified accuracy", "certifiedAccuracy", "Share of the points whose class the combined interval proves over the whole region"),
    cell(SCALE_FREE, "by bound", "certifiedClosed", "The same by the best bound without a search"),
    cell(SCALE_FREE, "under attack", "attacked", "Share of the points for which a search by gradients found no other class"),
    cell(AS_THEY_ARE, "mean bound", "bound", "Upper end of the bound that the constant is compared with"),
    cell(AS_THEY_ARE, "combined", "combined", "Mean certified interval of the exact constant: what all estimators together prove"),
    cell(AS_THEY_ARE, "bound moved", "boundMoved", "Bound over the twin's bound"),
    cell(AS_THEY_ARE, "truth moved", "truthMoved", "Combined over the twin's"),
    cell(AS_THEY_ARE, "transfer", "transfer", "1: the truth moved with the bound; 0: the bound alone"),
    cell(OF_AUDIT, "intervals exact", "certified", "Share of the points whose interval is exact"),
    ...(metrics.length && !metric?.share ? logged(OF_AUDIT) : []),
    // which the name of a run says, too: what was found comes first
    { group: OF_AUDIT, name: "seed", number: true, words: (entry) => String(entry.seed ?? "n/a"), value: (entry) => entry.seed, choose: true },
    { group: OF_AUDIT, name: "weight", number: true, words: (entry) => (entry.weight !== null ? short(entry.weight) : entry.changed ? "changed" : "not known"), value: (entry) => entry.weight, choose: true },
  ].filter((column) => !column.key || column.group !== SCALE_FREE || rows.some((entry) => entry.row[column.key]?.value != null));
  const fill = makeTable(place("runs-table"), columns, rows, { caption: "all runs", act: (entry) => choose(entry, true), chosen: (entry) => entry === chosen });
  const charts = [() => drawPareto(place("pareto"), rows, view, metric, () => chosen, choose), ...(compared ? [() => drawTransfers(place("transfers"), rows, view, () => chosen, choose)] : [])];
  facet = readLink().facet ?? facet;
  redraw = [...charts, fill, showFacets(rows, view, metric, () => chosen, choose)];
  charts.forEach((draw) => draw());
  showSeeds();
}

/** What runs of several seeds say together. */
function showSeeds() {
  const groups = data.groups.filter((group) => group.question === question);
  place("seeds").hidden = !groups.length;
  const columns = [
    { name: "runs", value: (group) => group.name },
    { name: "seeds", number: true, value: (group) => group.runs },
    ...data.groupColumns.filter((name) => groups.some((group) => group.cells[name].value !== null)).map((name) => ({ name, number: true, words: (group) => group.cells[name].words, value: (group) => group.cells[name].value })),
  ];
  if (groups.length) makeTable(place("seeds-table"), columns, groups, { caption: "means over seeds" });
}

function choose(entry, scroll = false) {
  chosen = entry;
  unknown = [];
  writeLink({ run: entry.id, epoch: null, point: null });
  showEntry();
  redraw.forEach((draw) => draw());
  if (scroll) place("single").scrollIntoView({ behavior: "smooth" });
}

/** A figure's key: {style: words}. */
const keyOf = (told) => element("span", { class: "key" }, ...Object.entries(told).map(([style, words]) => element("span", {}, element("i", { class: style }), words)));

/** The key of colours, which say which run; none where there is one. Roles that share a colour share its words. */
function swatches(roles) {
  const told = {};
  for (const role of roles.length > 1 ? roles : []) (told[`${ROLE[role]} swatch`] ??= []).push(role);
  return Object.fromEntries(Object.entries(told).map(([style, shared]) => [style, shared.join(" or ")]));
}
const colours = (roles) => keyOf(swatches(roles));
const rolesOf = (sides) => sides.map(({ role }) => role);

/** The key of colours and of line styles, which say which quantity. */
const key = (sides) => keyOf({ ...swatches(rolesOf(sides)), "sample bound": "bound", "sample LP": "LP relaxation", "sample combined": "combined, certified band" });

/** The list of runs, made anew only where it is another: it may be long. */
function showChoice(number) {
  const host = place("entries");
  if (host.dataset.question !== String(question)) {
    const options = data.entries.flatMap((e, value) => (e.question === question ? [{ value, words: e.label }] : []));
    chooser(host, "Run", options, number, (i) => choose(data.entries[i]));
    host.dataset.question = question;
  }
  host.querySelector("select").value = String(number);
}

/** What is told of a run in words; it is made when it is first shown. */
function showWords(number) {
  const known = made.get(number);
  if (known) return place("told").replaceChildren(known);
  const shown = document.importNode(new DOMParser().parseFromString(told[number], "text/html").body.firstElementChild, true);
  made.set(number, shown);
  place("told").replaceChildren(shown);
  shown.querySelectorAll(".scroll").forEach(dress);
}

/** Of a table that is there without a script: its file, and what of it is out of sight. */
function dress(box) {
  offerCsv(box);
  sayWhatIsHidden(box);
}

function showEntry() {
  const view = viewOf([chosen]);
  const [entry, sides, number] = [chosen, view.sidesOf(chosen), data.entries.indexOf(chosen)];
  showWords(number);
  showChoice(number);
  place("single-title").textContent = data.entries.length > 1 ? `One run: ${entry.label}` : "The run";
  const gaps = whyUndefined(entry.sides);
  place("trajectory-words").replaceChildren(`Means over the reference points, ${view.unit}; the bound is ${entry.against}. ${gaps}`, key(sides));
  place("trajectory-figure").hidden = !entry.trained;
  if (entry.trained) drawTrajectory(place("trajectory"), sides, view.unit);
  place("margins-figure").hidden = !entry.trained || !entry.sides.some((side) => side.course.some((row) => row.marginLower !== null));
  place("margins-words").replaceChildren(colours(rolesOf(sides)));
  if (!place("margins-figure").hidden) drawMargins(place("margins"), entry.sides, entry.radius);
  place("accuracy-figure").hidden = !entry.metric;
  place("accuracy-title").textContent = !entry.metric ? "" : entry.metric.share ? `${entry.metric.title[0].toUpperCase()}${entry.metric.title.slice(1)}.` : `${entry.metric.title}.`;
  place("accuracy-words").replaceChildren(colours(rolesOf(sides)));
  if (entry.metric) drawMetric(place("accuracy"), sides, entry.metric);
  place("transfer-figure").hidden = !entry.trained || !entry.transfer.length;
  place("transfer-title").textContent = `Transfer, ${view.unit}.`;
  if (entry.trained && entry.transfer.length) drawTransfer(place("transfer"), view.transferOf(entry));
  const epochs = [...new Set(entry.sides.flatMap((side) => Object.keys(side.points).map(Number)))].sort((a, b) => a - b);
  unknown = unknown.filter((told) => !told.startsWith("epoch") && !told.startsWith("point"));
  if (epochs.length) {
    const linked = Number(readLink().epoch ?? NaN);
    const first = entry.transfer.at(-1)?.epoch ?? epochs.at(-1);
    if (readLink().epoch && !epochs.includes(linked)) unknown.push(`epoch ${readLink().epoch}`);
    showPoints(entry, sides, epochs, epochs.includes(linked) ? linked : first, view.unit);
  }
  sayUnknown();
}

/** What the page's address names and the page does not hold; the default is shown in its place, and that is said. */
let unknown = [];

function sayUnknown() {
  const notice = place("unknown");
  notice.hidden = !unknown.length;
  notice.textContent = unknown.length ? `The link names ${unknown.join(" and ")}, which ${unknown.length > 1 ? "are" : "is"} not on this page. What is shown instead is the first that there is.` : "";
}

/** More records than this are listed when that is asked for, since it takes seconds. */
const MANY = 20000;

/** The audit records, whose columns and texts the page has once each. */
function allRecords() {
  const { sides, plain, texts, strings } = data.records;
  const records = sides.map((number, i) => ({ side: data.sides[number], row: i }));
  for (const [name, column] of Object.entries(plain)) column.forEach((value, i) => (records[i][name] = value));
  for (const [name, column] of Object.entries(texts)) column.forEach((text, i) => (records[i][name] = strings[text]));
  return records;
}

function showRecords() {
  const several = data.entries.length > 1;
  const label = new Map();
  for (const entry of data.entries)
    for (const side of entry.sides) if (!label.has(side)) label.set(side, several ? entry.label : side.name);
  const words = (name, more = {}) => ({ name, value: (r) => r[name], ...more });
  const number = (name, more = {}) => words(name, { number: true, ...more });
  const columns = [
    { name: "run", value: (r) => label.get(r.side), choose: true },
    ...(several ? [{ name: "role", value: (r) => r.side.role, mark: (r) => ROLE[r.side.role], choose: true }] : []),
    number("epoch", { choose: true }),
    number("point", { choose: true }),
    words("estimator", { choose: true, help: "'combined' is what all estimators together prove" }),
    number("lower", { words: (r) => outward(r.lower, false), help: "A witness attains it" }),
    number("upper", { words: (r) => outward(r.upper, true), help: "A proof holds for it" }),
    words("certificate", { choose: true, help: "What is proved" }),
    words("status", { choose: true, help: "How the work ended" }),
    number("seconds", { words: (r) => r.seconds.toFixed(2) }),
  ];
  const detail = (r) => {
    const told = {
      functional: r.functional,
      interval: `[${r.lower}, ${r.upper ?? "not proved"}]`,
      "proof of the upper end": r.proof || "none",
      "what the status says": data.statuses[r.status] ?? "Written by another version of lipreg.",
      class: `${r.label < 0 ? "none" : r.label}` + (r.margin === null ? "" : `, margin ${short(r.margin)}`),
      ...(r.checked && { "certificate file": r.checked }),
      record: `${r.side.file}, run ${r.side.name}` + (r.resumed ? ", resumed" : ""),
    };
    const work = element("details", {}, element("summary", {}, "For developers"), terms({ how: r.detail || "n/a", engine: r.engine || "several" }));
    return element("div", { class: "certificate" }, element("div", {}, terms(told), work), r.estimator === "combined" ? besideOf(r.row) : null);
  };
  const lastFirst = allRecords().sort((a, b) => b.epoch - a.epoch);
  makeTable(place("records-table"), columns, lastFirst, { caption: "audit records", detail });
}

/** Where there are several questions the page says the chosen one, and its medians; without scripts it names them all. */
function showQuestion() {
  document.querySelectorAll(".of-question").forEach((medians, number) => (medians.hidden = number !== question));
  const words = data.questions[question];
  if (data.questions.length > 1) place("question").textContent = `${words.charAt(0).toUpperCase()}${words.slice(1).replace(/\.$/, "")}.`;
}

chooser(place("questions"), "Question", data.questions.map((words, value) => ({ value, words })), question, (q) => {
  question = q;
  writeLink({ question: q, run: null, epoch: null, point: null });
  chosen = listed()[0];
  showAll();
});

/** Everything that depends on choices. */
function showAll() {
  showQuestion();
  showUnits();
  if (data.entries.length > 1) showOverview();
  showEntry();
}

/** Takes the choices from the page's address, as far as there is such a thing; the others are the first. */
function takeLink() {
  const told = readLink();
  const linked = data.entries.find((entry) => entry.id === told.run);
  question = linked?.question ?? (data.questions[told.question] ? Number(told.question) : 0);
  chosen = linked ?? listed()[0];
  unknown = [...(told.run && !linked ? [`run ${told.run}`] : []), ...(told.question && !data.questions[told.question] ? [`question ${told.question}`] : [])];
  scaled = told.units ? told.units !== "0" : mostlyScaled(chosen);
  const select = place("questions").querySelector("select");
  if (select) select.value = String(question);
}

place("link").addEventListener("click", () => {
  writeLink({ run: chosen.id, units: Number(scaled) });
  navigator.clipboard?.writeText(location.href).then(() => (place("link").textContent = "Link to this view (copied)"), () => {});
});
followLink(() => {
  takeLink();
  showAll();
});
takeLink();
document.documentElement.classList.add("drawn");
document.querySelectorAll("main .scroll").forEach(dress);
showAll();
if (data.records.sides.length <= MANY) showRecords();
else {
  const show = element("button", { type: "button", class: "more" }, `Show all ${data.records.sides.length.toLocaleString("en")} records`);
  show.addEventListener("click", showRecords);
  place("records-table").append(show);
}
