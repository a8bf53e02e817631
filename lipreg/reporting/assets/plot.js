// Axes, marks and tips: what every chart of the report is drawn with. Texts are set as text, never as HTML.

const SPACE = "http://www.w3.org/2000/svg";

/** An HTML element with attributes, and children that are elements or texts. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** An SVG element; attributes that are null are left out. */
function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** So many of them: "1 epoch", "2 epochs". */
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

/** A number as lipreg.words.written has it: "0.0001", "1e-5", "12350", "1.235e5". */
function writeNumber(value) {
  const plain = value === 0 || (Math.abs(value) >= 1e-4 && Math.abs(value) < 1e5);
  return plain ? String(value) : value.toExponential().replace("e+", "e");
}

/** A number in a few digits, for axes and tips. */
function short(value, digits = 4) {
  return value === null || value === undefined ? "not proved" : writeNumber(Number(value.toPrecision(digits)));
}

/** A number to some digits, rounded up or down however little is cut off: an upper end stays one, a lower end too. */
function outward(value, up, digits = 5) {
  if (value === null) return "not proved";
  if (value === 0) return "0";
  const [mantissa, power] = value.toExponential(12).split("e"); // a float's own rounding moves no digit
  const figures = mantissa.replace(/[.-]/g, "");
  const rest = /[1-9]/.test(figures.slice(digits));
  const away = value > 0 ? up : !up;
  const head = Number(figures.slice(0, digits)) + (rest && away ? 1 : 0);
  return writeNumber(Number(`${value < 0 ? "-" : ""}${head}e${Number(power) - digits + 1}`));
}

/** A line's scale: value to place. Domains of a logarithmic one are positive. */
function scale(low, high, from, to, log) {
  const turn = log ? Math.log : (value) => value;
  const [a, b] = [turn(low), turn(high)];
  return (value) => from + ((turn(value) - a) / (b - a || 1)) * (to - from);
}

/** Round numbers between two ends, about as many as asked for. */
function ticks(low, high, count, log) {
  if (log) {
    const decades = Math.log10(high / low);
    const steps = decades < 1.2 ? [1, 1.5, 2, 3, 4, 5, 7] : decades < 3 ? [1, 2, 5] : [1];
    const apart = Math.max(1, Math.ceil(decades / count));
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += decades < 3 ? 1 : apart)
      for (const step of steps) {
        const value = Number(`${step}e${power}`);
        if (value >= low * 0.9999 && value <= high * 1.0001) found.push(value);
      }
    if (found.length >= 2) return found;
  }
  const rough = (high - low) / Math.max(1, count);
  const unit = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((m) => m >= rough) || unit;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** The ends of positive numbers with room around them, for a logarithmic axis. */
function logSpan(values, room = 1.35) {
  const positive = values.filter((value) => value !== null && value > 0 && Number.isFinite(value));
  if (!positive.length) return [0.1, 10];
  return [Math.min(...positive) / room, Math.max(...positive) * room];
}

/**
 * A chart that fills its host and is drawn anew when the width changes.
 *
 * spec(width) returns { height, left, x, y, marks, tips, label }: the axes {low, high, log, title, format, ticks}, a function
 * that adds shapes to a group given the two scales, and the places {x, y, lines, act} that a pointer or an arrow key finds.
 */
function plot(host, spec) {
  const known = plots.get(host);
  if (known) {
    known.spec = spec;
    return known.draw();
  }
  const shown = { spec, width: 0 };
  shown.draw = () => {
    shown.width = Math.floor(host.clientWidth);
    if (shown.width >= 40) host.replaceChildren(render(shown.spec(shown.width), shown.width, host));
  };
  plots.set(host, shown);
  new ResizeObserver(() => {
    if (Math.floor(host.clientWidth) !== shown.width) shown.draw();
  }).observe(host);
  shown.draw();
}

const plots = new WeakMap();

function render(chart, width, host) {
  const { height, x, y } = chart;
  const [left, right, top, bottom] = [chart.left ?? 52, chart.right ?? 14, chart.top ?? 12, x.title ? 44 : 26];
  const across = scale(x.low, x.high, left, width - right, x.log);
  const up = scale(y.low, y.high, height - bottom, top, y.log);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", tabindex: 0, "aria-label": chart.label });
  const grid = shape("g", { class: "grid" });
  const names = shape("g", { class: "axis" });
  for (const value of x.ticks ?? ticks(x.low, x.high, Math.max(2, Math.floor(width / 110)), x.log)) {
    grid.append(shape("line", { x1: across(value), x2: across(value), y1: top, y2: height - bottom }));
    names.append(shape("text", { x: across(value), y: height - bottom + 17, "text-anchor": "middle" }, (x.format ?? short)(value)));
  }
  for (const value of y.ticks ?? ticks(y.low, y.high, Math.max(2, Math.floor(height / 55)), y.log)) {
    grid.append(shape("line", { x1: left, x2: width - right, y1: up(value), y2: up(value) }));
    names.append(shape("text", { x: left - 8, y: up(value) + 4, "text-anchor": "end" }, (y.format ?? short)(value)));
  }
  thin(names);
  if (x.title) names.append(shape("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle", class: "title" }, x.title));
  if (y.title) names.append(shape("text", { x: left, y: 11, "text-anchor": "start", class: "title" }, y.title));
  const marks = shape("g", { class: "marks" });
  chart.marks(marks, across, up, { left, right: width - right, top, bottom: height - bottom });
  const cursor = shape("g", { class: "cursor" });
  svg.append(grid, names, marks, cursor);
  follow(svg, cursor, host, chart, across, up, { width, left, right, top, bottom, height });
  return svg;
}

/** Leaves out names on the x axis that would touch. */
function thin(names) {
  let end = -Infinity;
  for (const name of [...names.children].filter((n) => n.getAttribute("text-anchor") === "middle")) {
    const place = Number(name.getAttribute("x"));
    const half = name.textContent.length * 3.4 + 4;
    if (place - half < end) name.remove();
    else end = place + half;
  }
}

/** Shows the nearest tip to the pointer, or the next one at an arrow key. */
function follow(svg, cursor, host, chart, across, up, box) {
  const tips = (chart.tips ?? []).filter((tip) => tip.x !== null && tip.x !== undefined);
  if (!tips.length) return;
  const tip = element("div", { class: "tip", role: "status" });
  let at = -1;
  const show = (index) => {
    at = index;
    const { x, y, lines } = tips[index];
    const [px, py] = [across(x), y === null ? box.top : up(y)];
    cursor.replaceChildren(
      y === null
        ? shape("line", { x1: px, x2: px, y1: box.top, y2: box.height - box.bottom })
        : shape("circle", { cx: px, cy: py, r: 8 }),
    );
    tip.replaceChildren(...lines.map((line, i) => element(i ? "div" : "strong", {}, line)));
    if (!tip.isConnected) host.append(tip);
    const right = px > box.width / 2;
    tip.style.left = right ? "" : `${px + 12}px`;
    tip.style.right = right ? `${box.width - px + 12}px` : "";
    tip.style.top = `${Math.max(0, Math.min(py - 20, box.height - 40 - 19 * lines.length))}px`;
  };
  const hide = () => {
    at = -1;
    cursor.replaceChildren();
    tip.remove();
  };
  const nearest = (event) => {
    const corner = svg.getBoundingClientRect();
    const [px, py] = [event.clientX - corner.left, event.clientY - corner.top];
    const far = tips.map((t) => Math.hypot(across(t.x) - px, t.y === null ? 0 : up(t.y) - py));
    return far.indexOf(Math.min(...far));
  };
  svg.addEventListener("pointermove", (event) => show(nearest(event)));
  svg.addEventListener("pointerdown", (event) => show(nearest(event)));
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("click", (event) => tips[nearest(event)].act?.());
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      show((at + step + tips.length) % tips.length);
    } else if (event.key === "Enter" && at >= 0) tips[at].act?.();
  });
}

/** Points {x, y} as the path of a line; a null breaks it. */
function path(points) {
  let open = false;
  return points
    .map(({ x, y }) => {
      if (y === null || !Number.isFinite(y)) {
        open = false;
        return "";
      }
      const step = `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      open = true;
      return step;
    })
    .join("");
}

/** Those of points {x, y} without a neighbour that the line of `path` leads to: it shows nothing of them. */
function lone(points) {
  const known = (point) => point !== undefined && point.y !== null && Number.isFinite(point.y);
  return points.filter((point, i) => known(point) && !known(points[i - 1]) && !known(points[i + 1]));
}

/** Places moved apart as little as needed to lie at least `gap` from each other, in the order given (ascending). */
function spread(places, gap) {
  const groups = [];
  for (const place of places) {
    let [centre, members] = [place, 1];
    while (groups.length && centre - groups.at(-1)[0] < (gap * (members + groups.at(-1)[1])) / 2) {
      const [other, count] = groups.pop();
      centre = (centre * members + other * count) / (members + count);
      members += count;
    }
    groups.push([centre, members]);
  }
  return groups.flatMap(([centre, members]) => Array.from({ length: members }, (_, i) => centre + gap * (i - (members - 1) / 2)));
}
