// A table that is sorted by its headings and filtered by words and choices; long ones are shown in parts.

const PART = 25;

/**
 * columns: [{ name, help, number, value(i), words(i), mark(i), choose }]: `value` sorts, `words` is shown, `mark` is a class,
 * `choose` offers the column's words as a filter. options: { rows, detail(i), act(i), chosen(i), caption, sorted }.
 */
function makeTable(host, columns, options) {
  let [order, down, shown, opened] = [options.sorted ?? null, false, PART, null];
  const wanted = new Map();
  let search = "";
  const count = element("span", { class: "soft small count", role: "status" });
  const body = element("tbody");
  const more = element("button", { type: "button", class: "more" }, "Show more");
  const heads = columns.map((column, c) => {
    const button = element("button", { type: "button", title: column.help ?? "" }, column.name);
    const head = element("th", { scope: "col", "aria-sort": "none", class: column.number ? "number" : "" }, button);
    button.addEventListener("click", () => {
      [order, down] = order === c ? [c, !down] : [c, false];
      fill();
    });
    return head;
  });

  const matches = (i) => {
    for (const [column, word] of wanted) if (column.words(i) !== word) return false;
    return !search || columns.some((column) => column.words(i).toLowerCase().includes(search));
  };
  const compare = (a, b) => {
    const [x, y] = [columns[order].value(a), columns[order].value(b)];
    if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last, both ways
    const sign = down ? -1 : 1;
    return (typeof x === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true })) * sign;
  };
  const rowOf = (i) => {
    const cells = columns.map((column, c) =>
      element(c ? "td" : "th", { class: [column.number ? "number" : "", column.mark?.(i) ?? ""].join(" ").trim() }, column.words(i)),
    );
    const row = element("tr", { class: options.chosen?.(i) ? "chosen" : "" }, ...cells);
    if (options.act || options.detail) {
      row.tabIndex = 0;
      row.classList.add("clickable");
      const press = () => (options.act ? options.act(i) : open(i, row));
      row.addEventListener("click", press);
      row.addEventListener("keydown", (event) => {
        if (event.key === "Enter") press();
      });
    }
    return row;
  };
  const open = (i, row) => {
    opened?.remove();
    const again = opened?.dataset.row === String(i);
    opened = null;
    if (again) return;
    opened = element("tr", { class: "detail", "data-row": i }, element("td", { colspan: columns.length }, options.detail(i)));
    row.after(opened);
  };
  const fill = () => {
    const rows = Array.from({ length: options.rows }, (_, i) => i).filter(matches);
    if (order !== null) rows.sort(compare);
    heads.forEach((head, c) => head.setAttribute("aria-sort", c !== order ? "none" : down ? "descending" : "ascending"));
    opened = null;
    body.replaceChildren(...rows.slice(0, shown).map(rowOf));
    const many = rows.length === options.rows ? counted(rows.length, "row") : `${rows.length} of ${counted(options.rows, "row")}`;
    count.textContent = rows.length > shown ? `${many}, the first ${shown} shown` : many;
    more.hidden = rows.length <= shown;
  };

  const tools = element("div", { class: "tools" });
  const input = element("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${options.caption}` });
  input.addEventListener("input", () => {
    search = input.value.trim().toLowerCase();
    shown = PART;
    fill();
  });
  tools.append(input);
  for (const column of columns.filter((c) => c.choose)) {
    const words = [...new Set(Array.from({ length: options.rows }, (_, i) => column.words(i)))];
    if (words.length < 2) continue;
    words.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    const select = element("select", { "aria-label": `Filter by ${column.name}` }, element("option", { value: "" }, `any ${column.name}`));
    words.forEach((word, w) => select.append(element("option", { value: String(w + 1) }, word)));
    select.addEventListener("change", () => {
      if (select.value) wanted.set(column, words[Number(select.value) - 1]);
      else wanted.delete(column);
      shown = PART;
      fill();
    });
    tools.append(select);
  }
  more.addEventListener("click", () => {
    shown += 5 * PART;
    fill();
  });
  tools.append(count);
  const table = element("table", { "aria-label": options.caption }, element("thead", {}, element("tr", {}, ...heads)), body);
  host.replaceChildren(...(options.rows > 8 ? [tools] : []), element("div", { class: "scroll" }, table), more);
  fill();
  return fill;
}
