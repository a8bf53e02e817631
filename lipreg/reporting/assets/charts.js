// The report's charts. A course is [epoch, bound, LP, lower, upper, metric] by epoch; null is what is not known.

const ROLE = { regularised: "run", twin: "twin", alone: "run" };
const percentage = (share) => `${Number((100 * share).toFixed(1))}%`;

/** Interval in words; one number where the ends meet. */
function span(lower, upper) {
  if (upper !== null && upper - lower <= 1e-5 * Math.abs(upper)) return short((lower + upper) / 2);
  return `[${outward(lower, false, 4)}, ${outward(upper, true, 4)}]`;
}

function epochAxis(sides, title) {
  const epochs = sides.flatMap((side) => side.course.map((row) => row[0]));
  const [low, high] = [Math.min(...epochs), Math.max(...epochs)];
  const room = (high - low || 1) * 0.02;
  const whole = (count) => [...new Set(ticks(low, high, count, false).map(Math.round))];
  return { low: low - room, high: high + room, title, whole };
}

/** Bound, LP and certified band over epochs, for a run and its twin. */
function drawTrajectory(host, sides) {
  return plot(host, (width) => {
    const audited = sides.map((side) => side.course.filter((row) => row[4] !== null || row[3] !== null));
    const values = audited.flat().flatMap((row) => row.slice(1, 5));
    const [low, high] = logSpan(values);
    const wide = width >= 640;
    const x = epochAxis(sides, "completed training epochs");
    x.ticks = x.whole(wide ? 8 : 5);
    const marks = (group, across, up, box) => {
      const names = [];
      sides.forEach((side, i) => {
        const rows = audited[i];
        const colour = ROLE[side.role];
        const line = (column, kind) => {
          const points = rows.map((row) => [across(row[0]), row[column] > 0 ? up(row[column]) : null]);
          group.append(shape("path", { class: `line ${kind} ${colour}`, d: path(points) }));
          const last = rows.at(-1);
          if (last && last[column] > 0) names.push([points.at(-1), `${kind} ${kind === "exact" ? span(last[3], last[4]) : outward(last[column], true, 4)}`, colour]);
        };
        const ends = rows.filter((row) => row[4] > 0);
        const above = ends.map((row) => [across(row[0]), up(row[4])]);
        const below = ends.map((row) => [across(row[0]), row[3] > 0 ? up(Math.max(row[3], low)) : box.bottom]);
        if (ends.length) group.append(shape("path", { class: `band ${colour}`, d: path([...above, ...below.reverse()]) + "Z" }));
        line(1, "bound");
        line(2, "LP");
        line(4, "exact");
        const lower = rows.map((row) => [across(row[0]), row[3] > 0 ? up(row[3]) : null]);
        group.append(shape("path", { class: `line exact ${colour}`, d: path(lower) }));
        for (const row of rows)
          for (const [column, kind] of [[1, "bound"], [3, "exact"], [4, "exact"]])
            if (row[column] > 0) group.append(shape("circle", { class: `dot ${kind} ${colour}`, cx: across(row[0]), cy: up(row[column]), r: 2.6 }));
      });
      if (!wide) return;
      names.sort((a, b) => a[0][1] - b[0][1]);
      spread(names.map((name) => name[0][1]), 15).forEach((place, i) => {
        const [[px, py], words, colour] = names[i];
        group.append(shape("path", { class: `lead ${colour}`, d: `M${px + 4} ${py}L${px + 16} ${place}` }));
        group.append(shape("text", { class: `name ${colour}`, x: px + 20, y: place + 4 }, words));
      });
    };
    const epochs = [...new Set(audited.flat().map((row) => row[0]))].sort((a, b) => a - b);
    const tips = epochs.map((epoch) => ({ x: epoch, y: null, lines: [`after ${counted(epoch, "epoch")}`, ...audited.flatMap((rows, i) => {
      const row = rows.find((r) => r[0] === epoch);
      if (!row) return [];
      const who = sides.length > 1 ? `${sides[i].role}: ` : "";
      return [`${who}exact ${span(row[3], row[4])}`, `${who}bound ${outward(row[1], true, 4)}` + (row[2] === null ? "" : `, LP ${outward(row[2], true, 4)}`)];
    })] }));
    return { height: wide ? 500 : 340, right: wide ? 150 : 14, top: 22, x, y: { low, high, log: true, title: "Lipschitz constant" }, marks, tips, label: "Bound, LP relaxation and exact constant over training epochs" };
  });
}

/** A value of a metric {title, share}: an accuracy as per cent, anything else as a plain number. */
const measured = (metric, value) => (metric.share ? percentage(value) : short(value));

/** The task's own metric over epochs. */
function drawMetric(host, sides, metric) {
  return plot(host, () => {
    const known = sides.map((side) => side.course.filter((row) => row[5] !== null));
    const values = known.flat().map((row) => row[5]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = Math.max(metric.share ? 0.01 : Math.abs(most) * 1e-3 || 1e-3, (most - least) * 0.1);
    const x = epochAxis(sides, "completed training epochs");
    x.ticks = x.whole(5);
    const marks = (group, across, up) =>
      sides.forEach((side, i) => group.append(shape("path", { class: `line exact ${ROLE[side.role]}`, d: path(known[i].map((row) => [across(row[0]), up(row[5])])) })));
    const epochs = [...new Set(known.flat().map((row) => row[0]))].sort((a, b) => a - b);
    const tips = epochs.map((epoch) => ({ x: epoch, y: null, lines: [`after ${counted(epoch, "epoch")}`, ...known.flatMap((rows, i) => rows.filter((row) => row[0] === epoch).map((row) => `${sides[i].role}: ${measured(metric, row[5])}`))] }));
    return { height: 215, x, y: { low: least - room, high: metric.share ? Math.min(1 + room / 2, most + room) : most + room, format: (v) => measured(metric, v) }, marks, tips, label: `${metric.title} over training epochs` };
  });
}

/** An interval as a bar with ends; a missing end runs to the edge. */
function whisker(group, colour, x1, x2, y1, y2) {
  group.append(shape("line", { class: `whisker ${colour}`, x1, x2, y1, y2 }));
}

const within = (value, low, high) => Math.min(high, Math.max(low, value));

/** The ends that transfer intervals are drawn in: 0 and 1 always, and the intervals themselves, within reason. */
function transferSpan(intervals) {
  const ends = intervals.flatMap(([low, high]) => [low, high]).filter((v) => v !== null && Number.isFinite(v));
  return [Math.max(-2, Math.min(-0.1, ...ends)) - 0.05, Math.min(3, Math.max(1.1, ...ends)) + 0.05];
}

/** Transfer intervals over epochs. */
function drawTransfer(host, entry) {
  const rows = entry.transfer.filter((row) => row[1] !== null || row[2] !== null || row[3] !== "undefined");
  return plot(host, () => {
    const [low, high] = transferSpan(rows.map((row) => [row[1], row[2]]));
    const epochs = entry.transfer.map((row) => row[0]);
    const room = (Math.max(...epochs) - Math.min(...epochs) || 1) * 0.05;
    const marks = (group, across, up, box) => {
      for (const level of [0, 1]) group.append(shape("line", { class: "level", x1: box.left, x2: box.right, y1: up(level), y2: up(level) }));
      for (const [epoch, lower, upper] of rows) {
        const [a, b] = [within(lower ?? low, low, high), within(upper ?? high, low, high)];
        whisker(group, "move", across(epoch), across(epoch), up(a), up(b));
        group.append(shape("circle", { class: "dot move", cx: across(epoch), cy: up((a + b) / 2), r: 4 }));
      }
    };
    const tips = rows.map(([epoch, lower, upper, words]) => ({ x: epoch, y: within(((lower ?? low) + (upper ?? high)) / 2, low, high), lines: [`after ${counted(epoch, "epoch")}`, `transfer ${words}`] }));
    const x = { low: Math.min(...epochs) - room, high: Math.max(...epochs) + room, title: "completed training epochs" };
    x.ticks = [...new Set(ticks(Math.min(...epochs), Math.max(...epochs), 5, false).map(Math.round))];
    return { height: 215, x, y: { low, high }, marks, tips, label: "Transfer over training epochs" };
  });
}

/** Bound over truth at each point, from the twin to the run. A point is [index, class, bound, LP, lower, upper, ...]. */
function drawScatter(host, sides, epoch) {
  return plot(host, (width) => {
    const points = sides.map((side) => (side.points[epoch] ?? []).filter((p) => p[2] > 0 && p[5] > 0));
    const [left, right] = logSpan(points.flat().flatMap((p) => [p[4] > 0 ? p[4] : p[5], p[5]]), 1.3);
    const [low, high] = logSpan([...points.flat().map((p) => p[2]), left * 1.3], 1.3);
    const marks = (group, across, up, box) => {
      for (const factor of [1, 10, 100, 1000]) {
        const [from, to] = [Math.max(left, low / factor), Math.min(right, high / factor)];
        if (from >= to) continue;
        group.append(shape("line", { class: factor === 1 ? "diagonal" : "diagonal faint", x1: across(from), y1: up(from * factor), x2: across(to), y2: up(to * factor) }));
        const [px, py] = [across(to), up(to * factor)];
        const turn = (Math.atan2(py - up(from * factor), px - across(from)) * 180) / Math.PI;
        const words = factor === 1 ? "bound = exact" : `${factor} times the exact constant`;
        if (px - across(from) > 190) group.append(shape("text", { class: "note", transform: `translate(${px} ${py}) rotate(${turn})`, x: -6, y: -6, "text-anchor": "end" }, words));
      }
      const middle = (p) => across(p[4] > 0 ? Math.sqrt(p[4] * p[5]) : p[5]);
      if (sides.length > 1)
        for (const p of points[0]) {
          const from = points[1].find((q) => q[0] === p[0]);
          if (from) group.append(shape("line", { class: "moved", x1: middle(from), y1: up(from[2]), x2: middle(p), y2: up(p[2]) }));
        }
      sides.forEach((side, i) => {
        for (const p of points[i]) {
          whisker(group, ROLE[side.role], p[4] > 0 ? across(p[4]) : box.left, across(p[5]), up(p[2]), up(p[2]));
          group.append(shape("circle", { class: `dot ${ROLE[side.role]}`, cx: middle(p), cy: up(p[2]), r: 4.5 }));
        }
      });
    };
    const tips = sides.flatMap((side, i) => points[i].map((p) => ({ x: p[4] > 0 ? Math.sqrt(p[4] * p[5]) : p[5], y: p[2], lines: [`point ${p[0]}` + (p[1] >= 0 ? `, class ${p[1]}` : "") + (sides.length > 1 ? `, ${side.role}` : ""), `exact ${span(p[4], p[5])}, ${p[9]}`, `bound ${outward(p[2], true, 4)}, ${short(p[2] / p[5], 3)} times`] })));
    return { height: Math.min(460, Math.max(330, width * 0.8)), top: 22, x: { low: left, high: right, log: true, title: "exact constant" }, y: { low, high, log: true, title: "bound" }, marks, tips, label: "Bound against exact constant at each reference point" };
  });
}

/** The marks that no other beats in both, from the smallest constant on. */
function frontier(dots) {
  const front = [];
  for (const dot of [...dots].sort((a, b) => a.constant - b.constant || b.value - a.value))
    if (!front.length || dot.value > front.at(-1).value) front.push(dot);
  return front;
}

/** The metric that all entries share over exact constant; a mark chooses its run. Which way is better is known of an accuracy alone. */
function drawPareto(host, entries, sides, metric, chosen, choose) {
  return plot(host, (width) => {
    const dots = !metric ? [] : entries.flatMap(([index, entry]) => entry.sides.map((s) => {
      const row = sides[s].course.filter((r) => r[4] > 0 && r[5] !== null).at(-1);
      return row && { index, label: entry.label, role: sides[s].role, lower: row[3], upper: row[4], constant: Math.sqrt(Math.max(row[3], row[4] / 1e3) * row[4]), value: row[5] };
    })).filter(Boolean);
    if (!dots.length) return { height: 60, x: { low: 0, high: 1, ticks: [] }, y: { low: 0, high: 1, ticks: [] }, label: "No run has both a metric and a constant", marks: (group) => group.append(shape("text", { class: "note", x: 60, y: 20 }, "The runs have no metric in common beside a constant.")) };
    const [left, right] = logSpan(dots.flatMap((d) => [d.lower > 0 ? d.lower : d.upper, d.upper]), 1.25);
    const least = Math.min(...dots.map((d) => d.value));
    const most = Math.max(...dots.map((d) => d.value));
    const room = Math.max(metric.share ? 0.005 : Math.abs(most) * 1e-3 || 1e-3, (most - least) * 0.12);
    const marks = (group, across, up, box) => {
      const front = metric.share ? frontier(dots) : [];
      const steps = front.flatMap((d, i) => [...(i ? [[across(d.constant), up(front[i - 1].value)]] : []), [across(d.constant), up(d.value)]]);
      group.append(shape("path", { class: "front", d: path(steps) }));
      for (const d of [...dots].reverse()) {
        whisker(group, ROLE[d.role], d.lower > 0 ? across(d.lower) : box.left, across(d.upper), up(d.value), up(d.value));
        group.append(shape("circle", { class: `dot pick ${ROLE[d.role]}${d.index === chosen() ? " chosen" : ""}`, cx: across(d.constant), cy: up(d.value), r: d.index === chosen() ? 7 : 5 }));
      }
    };
    const tips = dots.map((d) => ({ x: d.constant, y: d.value, lines: [d.label + (d.role === "twin" ? ", twin" : ""), `exact ${span(d.lower, d.upper)}`, `${metric.title} ${measured(metric, d.value)}`], act: () => choose(d.index) }));
    return { height: Math.min(380, Math.max(300, width * 0.6)), top: 22, x: { low: left, high: right, log: true, title: "exact constant, mean over points" }, y: { low: least - room, high: metric.share ? Math.min(most + room, 1 + room / 2) : most + room, format: (v) => measured(metric, v), title: metric.title }, marks, tips, label: `${metric.title} against exact constant of all runs` };
  });
}

/** The transfer interval of each compared run, in the order of the runs. */
function drawTransfers(host, entries, chosen, choose) {
  const rows = entries.map(([index, entry]) => [index, entry.label, entry.transfer.at(-1)]).filter((row) => row[2]);
  return plot(host, (width) => {
    const [low, high] = transferSpan(rows.map((row) => [row[2][1], row[2][2]]));
    const narrow = width < 420; // names stand above their marks, not beside them
    const space = narrow ? 40 : rows.length > 30 ? 14 : 24;
    const left = narrow ? 14 : 190;
    const letters = Math.floor((narrow ? width - 30 : left - 20) / 6.6);
    const marks = (group, across, up, box) => {
      for (const level of [0, 1]) group.append(shape("line", { class: "level", x1: across(level), x2: across(level), y1: box.top, y2: box.bottom }));
      rows.forEach(([index, label, [, lower, upper, words]], i) => {
        const y = up(rows.length - 1 - i);
        const cut = label.length > letters ? `${label.slice(0, letters - 1)}…` : label;
        const beside = narrow ? { x: left, y: y - 13 } : { x: left - 10, y: y + 4, "text-anchor": "end" };
        group.append(shape("text", { class: `rowname${index === chosen() ? " chosen" : ""}`, ...beside }, cut));
        if (words === "undefined") return group.append(shape("text", { class: "note", x: left + 6, y: y + 4 }, "undefined"));
        const [a, b] = [within(lower ?? low, low, high), within(upper ?? high, low, high)];
        whisker(group, "move", across(a), across(b), y, y);
        group.append(shape("circle", { class: `dot pick move${index === chosen() ? " chosen" : ""}`, cx: across((a + b) / 2), cy: y, r: index === chosen() ? 7 : 5 }));
      });
    };
    const tips = rows.map(([index, label, [, lower, upper, words]], i) => ({ x: within(((lower ?? low) + (upper ?? high)) / 2, low, high), y: rows.length - 1 - i, lines: [label, `transfer ${words}`], act: () => choose(index) }));
    return { height: 60 + space * Math.max(1, rows.length), left, x: { low, high, title: "transfer" }, y: { low: -0.6, high: rows.length - 0.4, ticks: [] }, marks, tips, label: "Transfer of each run" };
  });
}
