// Charts of more runs than can be drawn one by one: clouds of marks in one shape, and histograms.

/** Up to so many runs each has marks and a line of its own. */
const FEW = 50;

/** Many marks {x, y} as one shape. */
const cloud = (colour, places) => shape("path", { class: `cloud ${colour}`, d: places.map(({ x, y }) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("") });

/** Rows {value} in bins of equal width between two ends, empty ones too; each bin's rows in order. */
function binned(rows, low, high, count) {
  const bins = Array.from({ length: count }, (_, i) => ({ from: low + (i * (high - low)) / count, to: low + ((i + 1) * (high - low)) / count, rows: [] }));
  for (const row of rows) bins[Math.max(0, Math.min(count - 1, Math.floor(((row.value - low) / (high - low)) * count)))].rows.push(row);
  for (const bin of bins) bin.rows.sort((a, b) => a.value - b.value);
  return bins;
}

/** How the transfer of many runs [{entry, lower, upper, words}] is spread; below, the interval of the chosen one. */
function drawTransferHistogram(host, rows, chosen, choose) {
  const defined = rows.filter((row) => row.words !== "undefined");
  const [low, high] = transferSpan(defined);
  const placed = defined.map((row) => ({ ...row, value: drawnPart(row, low, high).middle }));
  return plot(host, (width) => {
    const bins = binned(placed, low, high, Math.max(10, Math.min(60, Math.floor(width / 14))));
    const most = Math.max(1, ...bins.map((bin) => bin.rows.length));
    const marks = (group, across, up, box) => {
      for (const level of [0, 1]) group.append(shape("line", { class: "level", x1: across(level), x2: across(level), y1: box.top, y2: box.bottom }));
      const corners = ({ from, to, rows: { length } }) => `M${across(from)} ${up(0)}V${up(length)}H${across(to) - 1}V${up(0)}Z`;
      group.append(shape("path", { class: "bars", d: bins.filter((bin) => bin.rows.length).map(corners).join("") }));
      const row = placed.find(({ entry }) => entry === chosen());
      if (!row) return;
      const part = drawnPart(row, low, high);
      const { from, to, middle } = part;
      const y = up(-0.09 * most);
      whisker(group, "move", across(from), across(to), y, y);
      arrows(group, part, [across(from), y], [across(to), y], 1, 0);
      if (part.seen) group.append(shape("circle", { class: "dot pick move chosen", cx: across(middle), cy: y, r: 6 }));
    };
    const tips = bins.filter((bin) => bin.rows.length).map(({ from, to, rows: inside }) => {
      const middle = inside[Math.floor(inside.length / 2)];
      return { x: (from + to) / 2, y: inside.length, lines: [counted(inside.length, "run"), `transfer ${short(from, 3)} to ${short(to, 3)} (middles)`, `a click shows ${middle.entry.label}`], act: () => choose(middle.entry) };
    });
    const undefinedOnes = rows.length - defined.length;
    const title = `transfer, middle of the interval${undefinedOnes ? `; undefined of ${counted(undefinedOnes, "run")}` : ""}`;
    const whole = [...new Set(ticks(0, most, 5, false).map(Math.round))];
    return { height: Math.min(380, Math.max(300, width * 0.6)), top: 22, x: { low, high, title }, y: { low: -0.18 * most, high: most * 1.05, ticks: whole, title: "runs" }, marks, tips, label: "Histogram of the transfer of all runs" };
  });
}
