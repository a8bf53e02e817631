// A reference point beside its witness: pictures of both and of their difference, the classes, the entries that differ most.

/** What is shown of a row of the records; null where nothing is kept of it. */
function besideOf(row) {
  const view = data.beside.views[row];
  if (!view) return data.beside.left ? element("p", { class: "soft small" }, "The page holds those of the last epochs alone: the point and the witness of this row are in the record file.") : null;
  const point = data.beside.points[view.reference];
  const known = (c) => (c === null || c === undefined ? "" : `, class ${c}`);
  const wrong = view.label !== null && view.predicted !== null && view.predicted !== view.label ? ` (its label is ${view.label})` : "";
  const shown = [
    point && picture(point, `reference point${known(view.predicted)}${wrong}`),
    view.witness && picture(view.witness, `witness of the lower end${known(view.found)}`),
    view.difference && picture(view.difference, `witness minus point: blue more, orange less, at most ${short(view.linf, 3)}`, true),
  ].filter(Boolean);
  const told = {};
  if (view.predicted !== null) told["class at the reference point"] = view.predicted + (view.label === null ? "" : view.label === view.predicted ? ", as its label" : `; its label is ${view.label}`);
  if (view.found !== null) told["class at the witness"] = view.found + (view.predicted === null ? "" : view.found === view.predicted ? ", the same" : ", another one");
  if (view.differ !== undefined) told.difference = `${view.differ} of ${counted(view.size, "entry").replace("entrys", "entries")}; largest ${short(view.linf, 3)}, Euclidean ${short(view.l2, 3)}`;
  const words = view.kept ? null : element("p", { class: "soft small" }, "The records do not hold the reference point: they are of an earlier lipreg, or were asked not to keep it.");
  return element("div", { class: "beside" }, element("div", { class: "pictures" }, ...shown), terms(told), words, view.entries?.length ? entriesTable(view) : null);
}

/** The entries that differ most, as numbers. */
function entriesTable({ entries, differ }) {
  const heads = ["entry", "point", "witness", "difference"].map((name) => element("th", { scope: "col", class: "number" }, name));
  const rows = entries.map(([place, ...values]) => element("tr", {}, element("th", { scope: "row", class: "number" }, place), ...values.map((value) => element("td", { class: "number" }, short(value, 5)))));
  const caption = differ > entries.length ? `the ${entries.length} entries that differ most` : "the entries that differ";
  return element("details", {}, element("summary", {}, caption), element("table", { class: "entries", "aria-label": caption }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
}

/** An input in 8 bits as the image that it is; a signed one in two colours that everybody tells apart, white where it is 0. */
function picture({ width, height, channels, code }, words, signed = false) {
  const values = Uint8Array.from(atob(code), (c) => c.charCodeAt(0));
  const canvas = element("canvas", { width, height, role: "img", "aria-label": words });
  const area = canvas.getContext("2d");
  const image = area.createImageData(width, height);
  for (let p = 0; p < width * height; p++) {
    const sum = (c) => values[p * channels + (channels === 3 ? c : 0)];
    const colours = signed ? twoColours(channels === 3 ? (sum(0) + sum(1) + sum(2)) / 3 : sum(0)) : [sum(0), sum(1), sum(2)];
    image.data.set([...colours, 255], 4 * p);
  }
  area.putImageData(image, 0, 0);
  return element("figure", { class: "witness" }, canvas, element("figcaption", {}, words));
}

/** 0 as orange, 127.5 as white, 255 as blue. */
function twoColours(value) {
  const part = value / 127.5 - 1;
  const end = part > 0 ? [0, 104, 168] : [189, 75, 0];
  return end.map((c) => Math.round(255 + (c - 255) * Math.abs(part)));
}
