// The report's charts. What they draw is said in page_data.py; null is what is not known.

const ROLE = { regularised: "run", network: "run", twin: "twin", alone: "run" };
const percentage = (share) => `${Number((100 * share).toFixed(1))}%`;

/** Interval in words; one number where the ends meet. */
function span({ lower, upper }) {
  if (upper !== null && upper - lower <= 1e-5 * Math.abs(upper)) return short((lower + upper) / 2);
  return `[${outward(lower, false, 4)}, ${outward(upper, true, 4)}]`;
}

/** An axis of the epochs of some rows {epoch}, with so many ticks and some room at its ends. */
function epochAxis(rows, count, room = 0.02) {
  const epochs = rows.map((row) => row.epoch);
  const [low, high] = [Math.min(...epochs), Math.max(...epochs)];
  const beside = (high - low || 1) * room;
  const whole = [...new Set(ticks(low, high, count, false).map(Math.round))];
  return { low: low - beside, high: high + beside, title: "completed training epochs", ticks: whole };
}

/** All that is known of both sides over training: {epoch}. */
const ofTraining = (sides) => sides.flatMap((side) => [...side.course, ...side.metric]);

/** The epochs of rows {epoch}, each once, in order. */
const epochsOf = (rows) => [...new Set(rows.map((row) => row.epoch))].sort((a, b) => a - b);

/** Where an interval from `lower` up is drawn on a logarithmic axis: its geometric mean, its upper end above 0. */
const middle = ({ lower, upper }) => (lower > 0 ? Math.sqrt(lower * upper) : upper);

/** A side with its constants times T; null where T is undefined. */
function calibrated(side) {
  const known = side.course.filter((row) => row.factor !== null);
  const times = (row, factor) => ({ ...row, ...Object.fromEntries(["bound", "LP", "lower", "upper"].map((end) => [end, row[end] === null || factor === null ? null : row[end] * factor])) });
  const points = Object.fromEntries(known.filter(({ epoch }) => side.points[epoch]).map(({ epoch, factor }) => [epoch, side.points[epoch].map((p) => times(p, factor))]));
  return { ...side, course: side.course.map((row) => times(row, row.factor)), points };
}

/** Rows in runs of neighbours that are alike: [{is, rows}]. */
function stretches(rows, is) {
  const runs = [];
  for (const row of rows) {
    if (runs.at(-1)?.is === is(row)) runs.at(-1).rows.push(row);
    else runs.push({ is: is(row), rows: [row] });
  }
  return runs;
}

/** Why constants times T are undefined at some audits of sides, and after which epochs, in words; empty where none are. */
function whyUndefined(sides) {
  const told = new Map();
  for (const { course, role } of sides)
    for (const { is, rows } of stretches(course, ({ factor, why }) => (factor === null ? why : "")).filter(({ is }) => is)) {
      const key = sides.length > 1 ? `${is} (${role})` : is;
      const [from, to] = [rows[0].epoch, rows.at(-1).epoch];
      told.set(key, [...(told.get(key) ?? []), from === to ? `${from}` : `${from} to ${to}`]);
    }
  return [...told].map(([why, epochs]) => `After epoch ${epochs.join(", ")} ${why}. `).join("");
}

/** The stretches of audits at which nothing is drawn, for want of T, marked and named in the chart. */
function markUndefined(group, sides, across, box) {
  const epochs = epochsOf(sides.flatMap(({ course }) => course));
  const blank = (epoch) => sides.every(({ course }) => course.every((row) => row.epoch !== epoch || (row.factor === null && row.upper === null)));
  for (const { is, rows } of stretches(epochs, blank)) {
    if (!is) continue;
    const [first, last] = [epochs.indexOf(rows[0]), epochs.indexOf(rows.at(-1))];
    const [from, to] = [first ? across((epochs[first - 1] + epochs[first]) / 2) : box.left, last + 1 < epochs.length ? across((epochs[last] + epochs[last + 1]) / 2) : box.right];
    group.append(shape("rect", { class: "blank", x: from, y: box.top, width: to - from, height: box.bottom - box.top }));
    const beside = to - from > 80 ? { x: (from + to) / 2, y: box.top + 18, "text-anchor": "middle" } : { transform: `translate(${(from + to) / 2 + 4} ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" };
    group.append(shape("text", { class: "note", ...beside }, "undefined"));
  }
}

/** Bound, LP and certified band over epochs, for a run and its twin; unit says what the constants are. */
function drawTrajectory(host, sides, unit) {
  return plot(host, (width) => {
    const audited = sides.flatMap((side) => side.course);
    const [low, high] = logSpan(audited.flatMap((row) => [row.bound, row.LP, row.lower, row.upper]));
    const wide = width >= 640;
    const x = epochAxis(ofTraining(sides), wide ? 8 : 5);
    const marks = (group, across, up, box) => {
      const names = [];
      markUndefined(group, sides, across, box);
      for (const { course, role } of sides) {
        const colour = ROLE[role];
        const line = (end, kind) => {
          const points = course.map((row) => ({ x: across(row.epoch), y: row[end] > 0 ? up(row[end]) : null }));
          group.append(shape("path", { class: `line ${kind} ${colour}`, d: path(points) }));
          if (kind === "LP") for (const { x, y } of lone(points)) group.append(shape("circle", { class: `dot LP ${colour}`, cx: x, cy: y, r: 2.6 })); // the others have a dot at every audit
          return points.findLast(({ y }) => y !== null);
        };
        const named = (end, kind) => {
          const [last, place] = [course.findLast((row) => row[end] > 0), line(end, kind)];
          if (last) names.push({ ...place, words: `${kind} ${kind === "combined" ? span(last) : outward(last[end], true, 4)}`, colour });
        };
        for (const { rows: ends } of stretches(course, (row) => row.upper > 0).filter(({ is }) => is)) {
          const above = ends.map((row) => ({ x: across(row.epoch), y: up(row.upper) }));
          const below = ends.map((row) => ({ x: across(row.epoch), y: row.lower > 0 ? up(Math.max(row.lower, low)) : box.bottom }));
          group.append(shape("path", { class: `band ${colour}`, d: path([...above, ...below.reverse()]) + "Z" }));
        }
        named("bound", "bound");
        named("LP", "LP");
        named("upper", "combined");
        line("lower", "combined");
        for (const row of course)
          for (const [end, kind] of Object.entries({ bound: "bound", lower: "combined", upper: "combined" }))
            if (row[end] > 0) group.append(shape("circle", { class: `dot ${kind} ${colour}`, cx: across(row.epoch), cy: up(row[end]), r: 2.6 }));
      }
      if (!wide) return;
      names.sort((a, b) => a.y - b.y);
      spread(names.map((name) => name.y), 15).forEach((place, i) => {
        const { x: px, y: py, words, colour } = names[i];
        group.append(shape("path", { class: `lead ${colour}`, d: `M${px + 4} ${py}L${px + 16} ${place}` }));
        group.append(shape("text", { class: `name ${colour}`, x: px + 20, y: place + 4 }, words));
      });
    };
    const tips = epochsOf(audited).map((epoch) => ({ x: epoch, y: null, lines: [`after ${counted(epoch, "epoch")}`, ...sides.flatMap(({ course, role }) => {
      const row = course.find((r) => r.epoch === epoch);
      if (!row) return [];
      const who = sides.length > 1 ? `${role}: ` : "";
      if (row.upper === null && row.factor === null && row.why) return [`${who}${row.why}`];
      return [`${who}combined ${span(row)}`, `${who}bound ${outward(row.bound, true, 4)}` + (row.LP === null ? "" : `, LP ${outward(row.LP, true, 4)}`)];
    })] }));
    return { height: wide ? 500 : 340, right: wide ? 150 : 14, top: 22, x, y: { low, high, log: true, title: `Lipschitz constant, ${unit}` }, marks, tips, label: "Bound, LP relaxation and combined over training epochs" };
  });
}

/** A value of a metric {title, share}: an accuracy as per cent, anything else as a plain number. */
const measured = (metric, value) => (metric.share ? percentage(value) : short(value));

/** Accuracies at which a logarithmic axis of errors has its ticks. */
const SHARES = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999];

/**
 * An axis of accuracies on which the distance from 100 % is logarithmic, {y, at}, at: accuracy to place; null where their
 * errors lie within a factor of 3, so that an even axis tells them apart.
 */
function errorAxis(values) {
  const errors = values.map((value) => 1 - value);
  const least = Math.max(1e-5, Math.min(...errors.filter((error) => error > 0), 1) / (errors.some((error) => error <= 0) ? 2 : 1));
  const most = Math.max(...errors);
  if (!(most > 3 * least)) return null;
  const [low, high] = [Math.min(1, most * 1.1), least / 1.15];
  const between = SHARES.map((share) => 1 - share).filter((error) => error <= low && error >= high);
  return { at: (value) => Math.max(1 - value, least), y: { low, high, log: true, ticks: between, format: (error) => `${Number((100 * (1 - error)).toPrecision(4))}%`, title: "per cent, the error on a logarithmic axis" } };
}

/** The task's own metric over epochs. */
function drawMetric(host, sides, metric) {
  return plot(host, () => {
    const known = sides.flatMap((side) => side.metric);
    const values = known.map((row) => row.value);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = Math.max(metric.share ? 0.01 : Math.abs(most) * 1e-3 || 1e-3, (most - least) * 0.1);
    const errors = metric.share ? errorAxis(values) : null;
    const at = errors?.at ?? ((value) => value);
    const marks = (group, across, up) =>
      sides.forEach((side) => {
        const points = side.metric.map((row) => ({ x: across(row.epoch), y: up(at(row.value)) }));
        group.append(shape("path", { class: `line combined ${ROLE[side.role]}`, d: path(points) }));
        for (const { x, y } of lone(points)) group.append(shape("circle", { class: `dot combined ${ROLE[side.role]}`, cx: x, cy: y, r: 2.6 }));
      });
    const tips = epochsOf(known).map((epoch) => ({ x: epoch, y: null, lines: [`after ${counted(epoch, "epoch")}`, ...sides.flatMap((side) => side.metric.filter((row) => row.epoch === epoch).map((row) => `${side.role}: ${measured(metric, row.value)}`))] }));
    return { height: 215, top: errors ? 22 : 12, x: epochAxis(ofTraining(sides), 5), y: errors?.y ?? { low: least - room, high: metric.share ? Math.min(1 + room / 2, most + room) : most + room, format: (v) => measured(metric, v) }, marks, tips, label: `${metric.title} over training epochs` };
  });
}

/** The median margin over constant over epochs, as far as it is certified; a level at the radius of the region. */
function drawMargins(host, sides, radius) {
  return plot(host, () => {
    const rows = sides.flatMap((side) => side.course.filter((row) => row.marginLower !== null));
    const most = Math.max(...rows.flatMap((row) => [row.marginLower, row.marginUpper ?? 0])) * 1.12 || 1;
    const marks = (group, across, up, box) => {
      if (radius !== null && radius < most) group.append(shape("line", { class: "level", x1: box.left, x2: box.right, y1: up(radius), y2: up(radius) }));
      for (const { course, role } of sides) {
        const known = course.filter((row) => row.marginLower !== null && row.marginUpper !== null);
        const [above, below] = ["marginUpper", "marginLower"].map((end) => known.map((row) => ({ x: across(row.epoch), y: up(row[end]) })));
        if (known.length) group.append(shape("path", { class: `band ${ROLE[role]}`, d: path([...above, ...[...below].reverse()]) + "Z" }));
        const lower = course.map((row) => ({ x: across(row.epoch), y: row.marginLower === null ? null : up(row.marginLower) }));
        group.append(shape("path", { class: `line combined ${ROLE[role]}`, d: path(lower) }));
        for (const { x: cx, y: cy } of lower) if (cy !== null) group.append(shape("circle", { class: `dot combined ${ROLE[role]}`, cx, cy, r: 2.6 }));
      }
    };
    const said = ({ marginLower, marginUpper }) => span({ lower: marginLower, upper: marginUpper }).replace("not proved", "no end known");
    const tips = epochsOf(rows).map((epoch) => ({ x: epoch, y: null, lines: [`after ${counted(epoch, "epoch")}`, ...sides.flatMap((side) => side.course.filter((row) => row.epoch === epoch && row.marginLower !== null).map((row) => `${side.role}: ${said(row)}`)), ...(radius !== null ? [`radius of the region: ${short(radius)}`] : [])] }));
    return { height: 215, x: epochAxis(ofTraining(sides), 5), y: { low: 0, high: most }, marks, tips, label: "Median margin over constant over training epochs" };
  });
}

/** An interval as a bar with ends; a missing end runs to the edge. */
function whisker(group, colour, x1, x2, y1, y2) {
  group.append(shape("line", { class: `whisker ${colour}`, x1, x2, y1, y2 }));
}

/** The ends that transfer intervals {lower, upper} are drawn in: 0 and 1 always, and the intervals, within reason. */
function transferSpan(intervals) {
  const ends = intervals.flatMap(({ lower, upper }) => [lower, upper]).filter((v) => v !== null);
  return [Math.max(-2, Math.min(-0.1, ...ends)) - 0.05, Math.min(3, Math.max(1.1, ...ends)) + 0.05];
}

/** The part of a transfer interval that lies in such a span, its middle (at the end of the span where `seen` is false: it lies outside), and which ends lie outside. */
function drawnPart({ lower, upper }, low, high) {
  const within = (value) => Math.min(high, Math.max(low, value));
  const [from, to] = [within(lower ?? low), within(upper ?? high)];
  const middle = lower === null || upper === null ? (from + to) / 2 : (lower + upper) / 2;
  return { from, to, middle: within(middle), seen: within(middle) === middle, cutFrom: (lower ?? -Infinity) < low, cutTo: (upper ?? Infinity) > high };
}

/** Arrows at the ends of a whisker that go on outside of the chart; (dx, dy) is the way from its lower end to its upper one. */
function arrows(group, part, start, end, dx, dy) {
  const arrow = ([x, y], sign) => group.append(shape("path", { class: "arrow move", d: `M${x + sign * 7 * dx} ${y + sign * 7 * dy}L${x + 4 * dy} ${y + 4 * dx}L${x - 4 * dy} ${y - 4 * dx}Z` }));
  if (part.cutFrom) arrow(start, -1);
  if (part.cutTo) arrow(end, 1);
}

/** Transfer intervals over epochs: [{epoch, lower, upper, words}]. */
function drawTransfer(host, transfer) {
  const rows = transfer.filter((row) => row.words !== "undefined");
  return plot(host, () => {
    const [low, high] = transferSpan(rows);
    const marks = (group, across, up, box) => {
      for (const level of [0, 1]) group.append(shape("line", { class: "level", x1: box.left, x2: box.right, y1: up(level), y2: up(level) }));
      if (!rows.length) group.append(shape("text", { class: "note", x: (box.left + box.right) / 2, y: up(0.5), "text-anchor": "middle" }, "undefined after every epoch that is compared"));
      for (const row of rows) {
        const part = drawnPart(row, low, high);
        const { from, to, middle } = part;
        whisker(group, "move", across(row.epoch), across(row.epoch), up(from), up(to));
        arrows(group, part, [across(row.epoch), up(from)], [across(row.epoch), up(to)], 0, -1);
        if (part.seen) group.append(shape("circle", { class: "dot move", cx: across(row.epoch), cy: up(middle), r: 4 }));
      }
    };
    const tips = rows.map((row) => ({ x: row.epoch, y: drawnPart(row, low, high).middle, lines: [`after ${counted(row.epoch, "epoch")}`, `transfer ${row.words}`] }));
    return { height: 215, x: epochAxis(transfer, 5, 0.05), y: { low, high }, marks, tips, label: "Transfer over training epochs" };
  });
}

/** Two logarithmic spans, widened so that a factor is as long on both axes; and the height, for so wide an area. */
function equalAxes([left, right], [low, high], width) {
  const [across, up] = [Math.log(right / left), Math.log(high / low)];
  const unit = Math.min(width / across, 420 / up);
  const height = Math.max(200, unit * up);
  const [beside, above] = [Math.exp((width / unit - across) / 2), Math.exp((height / unit - up) / 2)];
  return [left / beside, right * beside, low / above, high * above, height];
}

/** Bound over truth at each point, from the twin to the run; unit says what the constants are, a dot calls show(role, point). */
function drawScatter(host, sides, epoch, unit, show) {
  return plot(host, (width) => {
    const points = sides.map((side) => (side.points[epoch] ?? []).filter((p) => p.bound > 0 && p.upper > 0));
    const across = logSpan(points.flat().flatMap((p) => [p.lower > 0 ? p.lower : p.upper, p.upper]), 1.3);
    const [left, right, low, high, height] = equalAxes(across, logSpan([...points.flat().map((p) => p.bound), across[0] * 1.3], 1.3), width - 66);
    const marks = (group, across, up, box) => {
      for (const factor of [1, 10, 100, 1000]) {
        const [from, to] = [Math.max(left, low / factor), Math.min(right, high / factor)];
        if (from >= to) continue;
        group.append(shape("line", { class: factor === 1 ? "diagonal" : "diagonal faint", x1: across(from), y1: up(from * factor), x2: across(to), y2: up(to * factor) }));
        const [px, py] = [across(to), up(to * factor)];
        const turn = (Math.atan2(py - up(from * factor), px - across(from)) * 180) / Math.PI;
        const words = factor === 1 ? "bound = combined" : `${factor} times combined`;
        if (px - across(from) > 190) group.append(shape("text", { class: "note", transform: `translate(${px} ${py}) rotate(${turn})`, x: -6, y: -6, "text-anchor": "end" }, words));
      }
      if (sides.length > 1)
        for (const p of points[0]) {
          const from = points[1].find((q) => q.point === p.point);
          if (from) group.append(shape("line", { class: "moved", x1: across(middle(from)), y1: up(from.bound), x2: across(middle(p)), y2: up(p.bound) }));
        }
      sides.forEach((side, i) => {
        for (const p of points[i]) {
          whisker(group, ROLE[side.role], p.lower > 0 ? across(p.lower) : box.left, across(p.upper), up(p.bound), up(p.bound));
          group.append(shape("circle", { class: `dot pick ${ROLE[side.role]}`, cx: across(middle(p)), cy: up(p.bound), r: 4.5 }));
        }
      });
    };
    const tips = sides.flatMap((side, i) => points[i].map((p) => ({ x: middle(p), y: p.bound, lines: [`point ${p.point}` + (p.label >= 0 ? `, class ${p.label}` : "") + (sides.length > 1 ? `, ${side.role}` : ""), `combined ${span(p)}, ${p.certificate}`, `bound ${outward(p.bound, true, 4)}, ${short(p.bound / p.upper, 3)} times`, "a click shows the point and its witness"], act: () => show(side.role, p.point) })));
    return { height: height + 66, top: 22, x: { low: left, high: right, log: true, title: `combined, ${unit}` }, y: { low, high, log: true, title: `bound, ${unit}` }, marks, tips, label: "Bound against combined at each reference point" };
  });
}

/** The marks that no other beats in both, from the smallest constant on. */
function frontier(dots) {
  const front = [];
  for (const dot of [...dots].sort((a, b) => a.constant - b.constant || b.value - a.value))
    if (!front.length || dot.value > front.at(-1).value) front.push(dot);
  return front;
}

/** The marks of entries: of each side, where both are known, the last metric and constant; an interval stands at its geometric middle. */
function paretoMarks(entries, view, metric) {
  const own = entries.filter((entry) => entry.metric?.title === metric.title);
  return own.flatMap((entry) => view.sidesOf(entry).map(({ course, role }, i) => {
    const row = course.filter((r) => r.upper > 0 && r.metric !== null).at(-1);
    return row && { entry, role, side: entry.sides[i], ...row, constant: Math.sqrt(Math.max(row.lower, row.upper / 1e3) * row.upper), value: row.metric };
  })).filter(Boolean);
}

/** How many runs, twins among them, have no mark, and why, in words; empty where each has one. */
function notDrawn(entries, view, metric) {
  const drawn = new Set(paretoMarks(entries, view, metric).map(({ side }) => side));
  const all = new Set(entries.flatMap((entry) => entry.sides));
  const missing = [...all].filter((side) => !drawn.has(side));
  const bare = missing.filter((side) => !side.course.length).length; // as a twin that was audited without the penalised bound
  const told = [
    { many: missing.length - bare, why: `for want of a constant ${view.unit} or of ${metric.title}` },
    { many: bare, why: "for want of an audit with the bound that constants are compared with" },
  ].filter(({ many }) => many);
  if (!told.length) return "";
  const whys = told.length > 1 ? `: ${told.map(({ many, why }) => `${many.toLocaleString("en")} ${why}`).join(", ")}` : `, ${told[0].why}`;
  return `${missing.length.toLocaleString("en")} of ${counted(all.size, "run")}, twins among them, ${missing.length === 1 ? "is" : "are"} not drawn${whys}. `;
}

/** The metric that most entries have; whether it is a share is known where all of these say so. */
function commonMetric(entries) {
  const titles = entries.map((entry) => entry.metric?.title).filter(Boolean);
  const often = (title) => titles.filter((other) => other === title).length;
  const title = [...new Set(titles)].sort((a, b) => often(b) - often(a))[0];
  return title ? { title, share: entries.every(({ metric }) => metric?.title !== title || metric.share) } : null;
}

/** A metric over combined (view: sidesOf(entry), unit); a mark chooses its run. Which way is better is known of an accuracy alone. The axes hold all entries of `among`. */
function drawPareto(host, entries, view, metric, chosen, choose, among = entries) {
  return plot(host, (width) => {
    const marked = (some) => (metric ? paretoMarks(some, view, metric) : []);
    const dots = marked(entries);
    const all = among === entries ? dots : marked(among);
    if (!dots.length) return { height: 60, x: { low: 0, high: 1, ticks: [] }, y: { low: 0, high: 1, ticks: [] }, label: "No run has both a metric and a constant", marks: (group) => group.append(shape("text", { class: "note", x: 60, y: 20 }, "No run has both a metric and a constant.")) };
    const [left, right] = logSpan(all.flatMap((d) => [d.lower > 0 ? d.lower : d.upper, d.upper]), 1.25);
    const least = Math.min(...all.map((d) => d.value));
    const most = Math.max(...all.map((d) => d.value));
    const room = Math.max(metric.share ? 0.005 : Math.abs(most) * 1e-3 || 1e-3, (most - least) * 0.12);
    const marks = (group, across, up, box) => {
      const front = metric.share ? frontier(dots) : [];
      const steps = front.flatMap((d, i) => (i ? [front[i - 1], d] : [d]).map(({ value }) => ({ x: across(d.constant), y: up(value) })));
      group.append(shape("path", { class: "front", d: path(steps) }));
      if (dots.length > 2 * FEW)
        for (const role of ["twin", "run"]) group.append(cloud(role, dots.filter((d) => ROLE[d.role] === role).map((d) => ({ x: across(d.constant), y: up(d.value) }))));
      for (const d of dots.filter(({ entry }) => dots.length <= 2 * FEW || entry === chosen()).reverse()) {
        whisker(group, ROLE[d.role], d.lower > 0 ? across(d.lower) : box.left, across(d.upper), up(d.value), up(d.value));
        group.append(shape("circle", { class: `dot pick ${ROLE[d.role]}${d.entry === chosen() ? " chosen" : ""}`, cx: across(d.constant), cy: up(d.value), r: d.entry === chosen() ? 7 : 5 }));
      }
    };
    const tips = dots.map((d) => ({ x: d.constant, y: d.value, lines: [d.entry.label + (d.role === "twin" ? ", twin" : ""), `combined ${span(d)}`, `${metric.title} ${measured(metric, d.value)}`], act: () => choose(d.entry) }));
    return { height: Math.min(380, Math.max(300, width * 0.6)), top: 22, x: { low: left, high: right, log: true, title: `combined ${view.unit}` }, y: { low: least - room, high: metric.share ? Math.min(most + room, 1 + room / 2) : most + room, format: (v) => measured(metric, v), title: metric.title }, marks, tips, label: `${metric.title} against combined of all runs` };
  });
}

/** Labels without the parts that all of them have, which tell none apart. */
function apart(labels) {
  const parts = labels.map((label) => label.split(", "));
  const shared = new Set(parts[0]?.filter((part) => parts.every((own) => own.includes(part))));
  return labels.map((label, i) => (labels.length > 1 && parts[i].filter((part) => !shared.has(part)).join(", ")) || label);
}

/** A label of at most so many letters: its beginning, which says the weight, and its end. */
function shortened(label, letters) {
  if (label.length <= letters) return label;
  const begin = Math.min(Math.floor(letters / 2), label.indexOf(", ") + 1 || letters);
  return `${label.slice(0, begin)}…${label.slice(begin + 1 - letters)}`;
}

/** The last transfer of each run that is compared with a twin: { entry, lower, upper, words }. */
const transfersOf = (entries, view) => entries.map((entry) => ({ entry, ...view.transferOf(entry).at(-1) })).filter((row) => row.words);

/** The transfer interval of each compared run (view: transferOf(entry)), in the order of the runs. */
function drawTransfers(host, entries, view, chosen, choose) {
  const rows = transfersOf(entries, view);
  if (rows.length > FEW) return drawTransferHistogram(host, rows, chosen, choose);
  const names = apart(rows.map((row) => row.entry.label));
  return plot(host, (width) => {
    const [low, high] = transferSpan(rows);
    const narrow = width < 420; // names stand above their marks, not beside them
    const space = narrow ? 40 : rows.length > 30 ? 14 : 24;
    const left = narrow ? 14 : Math.min(width * 0.4, Math.max(190, 24 + 6.6 * Math.max(...names.map((name) => name.length))));
    const letters = Math.floor((narrow ? width - 30 : left - 20) / 6.6);
    const marks = (group, across, up, box) => {
      for (const level of [0, 1]) group.append(shape("line", { class: "level", x1: across(level), x2: across(level), y1: box.top, y2: box.bottom }));
      rows.forEach((row, i) => {
        const [y, picked] = [up(rows.length - 1 - i), row.entry === chosen() ? " chosen" : ""];
        const beside = narrow ? { x: left, y: y - 13 } : { x: left - 10, y: y + 4, "text-anchor": "end" };
        group.append(shape("text", { class: `rowname${picked}`, ...beside }, shortened(names[i], letters)));
        if (row.words === "undefined") return group.append(shape("text", { class: "note", x: across(0) + 8, y: y + 4 }, "undefined"));
        const part = drawnPart(row, low, high);
        const { from, to, middle } = part;
        whisker(group, "move", across(from), across(to), y, y);
        arrows(group, part, [across(from), y], [across(to), y], 1, 0);
        if (part.seen) group.append(shape("circle", { class: `dot pick move${picked}`, cx: across(middle), cy: y, r: picked ? 7 : 5 }));
      });
    };
    const tips = rows.map((row, i) => ({ x: drawnPart(row, low, high).middle, y: rows.length - 1 - i, lines: [row.entry.label, `transfer ${row.words}`], act: () => choose(row.entry) }));
    return { height: 60 + space * Math.max(1, rows.length), left, x: { low, high, title: "transfer" }, y: { low: -0.6, high: rows.length - 0.4, ticks: [] }, marks, tips, label: "Transfer of each run" };
  });
}
