// The reference points of one run at one epoch: bound against truth, and a table of what is proved; a dot opens its row.

function showPoints(entry, drawn, epochs, epoch, unit) {
  const sides = entry.sides;
  chooser(place("epochs"), "After epoch", [...epochs].reverse().map((e) => ({ value: e, words: e })), epoch, (e) => {
    writeLink({ epoch: e, point: null });
    showPoints(entry, drawn, epochs, e, unit);
  });
  const moved = sides.length > 1 && sides.every((side) => side.points[epoch]) ? ` Each line leads from the twin to the ${entry.trained ? "regularised run" : "network"} at one point.` : "";
  place("scatter-words").textContent = `${entry.trained ? `After ${counted(epoch, "epoch")}. ` : ""}On the diagonal a bound is perfect.${moved}`;
  const known = drawn.some((side) => side.points[epoch]); // T may be known at other epochs only
  const why = known ? "" : sides.flatMap(({ course }) => course.filter((row) => row.epoch === epoch && row.factor === null && row.why).map((row) => row.why))[0];
  if (why) place("scatter-words").append(` In units of the output: ${why}.`);
  const moves = entry.moves[epoch];
  const rows = sides.flatMap((side, s) => (side.points[epoch] ?? []).map((p) => ({ ...p, role: side.role, s, moved: s === 0 ? moves?.[p.point] : undefined })));
  rows.sort((a, b) => a.point - b.point || a.s - b.s);
  const number = (group, name, key, up, help, unknown = "n/a") => ({ group, name, help, number: true, value: (p) => p[key], words: (p) => (p[key] === null ? unknown : outward(p[key], up)) });
  const columns = [
    { name: "point", number: true, value: (p) => p.point },
    ...(sides.length > 1 ? [{ name: "run", value: (p) => p.s, words: (p) => p.role, mark: (p) => ROLE[p.role] }] : []),
    ...(rows.some((p) => p.correct !== null) ? [{ name: "class right", value: (p) => ({ true: "yes", false: "no" })[p.correct] ?? "n/a" }] : []),
    ...(rows.some((p) => p.marginWords !== "n/a") ? [{ group: SCALE_FREE, name: "margin over constant", help: "How far away another class is, by the network's own constant", number: true, value: (p) => p.margin, words: (p) => p.marginWords }] : []),
    ...["certified", "attacked"].filter((key) => rows.some((p) => p[key] !== null)).map((key) => ({ group: SCALE_FREE, name: key, help: { certified: "Whether the constant proves the class over the whole region", attacked: "Whether a search by gradients found another class in the region" }[key], value: (p) => p[key] ?? "n/a" })),
    ...(rows.some((p) => p.radius !== null) ? [number(SCALE_FREE, "radius", "radius", false, "Certified radius: no smaller change alters the class")] : []),
    number(AS_THEY_ARE, "lower", "lower", false, "A witness attains it"),
    number(AS_THEY_ARE, "upper", "upper", true, "A proof holds for it", "not proved"),
    { group: AS_THEY_ARE, name: "certificate", help: "exact: the two ends meet", value: (p) => p.certificate },
    number(AS_THEY_ARE, "bound", "bound", true, "Upper end of the bound that the constant is compared with", "not proved"),
    ...(moves ? [{ group: AS_THEY_ARE, name: "transfer", help: "Of the constants as they are: what multiplies all outputs moves it", number: true, value: (p) => p.moved?.value ?? null, words: (p) => p.moved?.words ?? "" }] : []),
    number(AS_THEY_ARE, "LP", "LP", true, "Upper end of the LP relaxation"),
  ];
  const name = (row) => `${row.role} ${row.point}`;
  const fill = makeTable(place("points-table"), columns, rows, { caption: "reference points", detail: pointDetail, opened: (row) => writeLink({ point: row && name(row) }) });
  const show = (role, point) => {
    const row = rows.find((each) => each.role === role && each.point === point);
    if (row) fill.show(row);
  };
  drawScatter(place("scatter"), known ? drawn : sides, String(epoch), known ? unit : AS_THEY_ARE, show);
  const linked = readLink().point;
  const meant = rows.filter((row) => name(row) === linked);
  if (linked && !meant.length) unknown.push(`point ${linked}`);
  meant.forEach((row) => fill.show(row, false));
}

/** Terms and what they mean, one below the other. */
const terms = (told) => element("dl", {}, ...Object.entries(told).flatMap(([term, meaning]) => [element("dt", {}, term), element("dd", {}, meaning)]));

/** What is said of a point below its row. */
function pointDetail(p) {
  const told = terms({
    "what is measured": p.functional,
    "how the search ended": `${p.status}: ${data.statuses[p.status] ?? "written by another version of lipreg"}`,
    label: p.label < 0 ? "none" : String(p.label),
  });
  return element("div", { class: "certificate" }, told, p.row === null ? null : besideOf(p.row));
}
