// One small chart for each value of a setting, all with the same axes.

/** More values than this are left to the filters of the table. */
const CHARTS = 12;

let facet = "";

/** rows: the entries; the other arguments are those of drawPareto. Returns what draws them anew. */
function showFacets(rows, view, metric, chosen, choose) {
  const names = Object.keys(data.facets).filter((name) => new Set(rows.map((entry) => valueOf(entry, name))).size > 1);
  place("facets").hidden = !names.length || rows.length < 4;
  if (place("facets").hidden) return () => {};
  const options = [{ value: -1, words: "none" }, ...names.map((words, value) => ({ value, words }))];
  chooser(place("facet-choice"), "One chart for each value of", options, names.indexOf(facet), (i) => {
    facet = names[i] ?? "";
    writeLink({ facet: facet || null });
    draw();
  });
  const draw = () => {
    const values = names.includes(facet) ? [...new Set(rows.map((entry) => valueOf(entry, facet)))] : [];
    values.sort(natural);
    const known = values.slice(0, CHARTS);
    const parts = known.map((value) => {
      const own = rows.filter((entry) => valueOf(entry, facet) === value);
      const caption = element("figcaption", {}, element("strong", {}, `${facet} ${value || "not told"}.`), ` ${counted(own.length, "run")}. ${metric ? notDrawn(own, view, metric) : ""}`);
      const host = element("div", { class: "chart" });
      return { own, host, figure: element("figure", {}, caption, host) };
    });
    const rest = values.length > known.length ? [element("p", { class: "soft small" }, `${values.length - known.length} more values: the table below filters them.`)] : [];
    place("facet-charts").replaceChildren(...parts.map(({ figure }) => figure), ...rest);
    for (const { host, own } of parts) drawPareto(host, own, view, metric, chosen, choose, rows);
  };
  draw();
  return draw;
}

/** What an entry has of a setting. */
const valueOf = (entry, name) => data.facets[name][entry.number];
