// A table that is sorted by its headings and filtered by words and choices; long ones are shown in parts.

const PART = 25;

/** Compares words by the numbers in them: weight=0.05 before weight=0.1 before weight=1e1, seed=2 before seed=10. */
function natural(a, b) {
  const [x, y] = [a, b].map((words) => words.split(/(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/)); // numbers at every second place
  for (let at = 0; at < Math.min(x.length, y.length); at += 1) {
    const sign = at % 2 ? x[at] - y[at] : x[at].localeCompare(y[at]);
    if (sign) return sign;
  }
  return x.length - y.length || a.localeCompare(b);
}

/**
 * columns: [{ name, help, number, value(row), words(row), mark(row), choose, group }]: `value` sorts, `words` is shown (the
 * value, where there is none), `mark` is a class, `choose` offers the column's words as a filter, `group` is a heading that
 * stands above all columns of that name side by side.
 * options: { caption, detail(row), act(row), chosen(row), opened(row or null) }.
 * Returns a function that fills the table anew; its show(row) opens a row and brings it into sight.
 */
function makeTable(host, columns, rows, options) {
  let [order, down, shown, opened] = [null, false, PART, null];
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

  const said = (column, row) => (column.words ? column.words(row) : String(column.value(row)));
  const matches = (row) => {
    for (const [column, word] of wanted) if (said(column, row) !== word) return false;
    return !search || columns.some((column) => said(column, row).toLowerCase().includes(search));
  };
  const compare = (a, b) => {
    const [x, y] = [columns[order].value(a), columns[order].value(b)];
    if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last, both ways
    const sign = down ? -1 : 1;
    return (typeof x === "number" ? x - y : natural(String(x), String(y))) * sign;
  };
  const line = (row) => {
    const cells = columns.map((column, c) =>
      element(c ? "td" : "th", { class: [column.number ? "number" : "", column.mark?.(row) ?? ""].join(" ").trim() }, said(column, row)),
    );
    const made = element("tr", { class: options.chosen?.(row) ? "chosen" : "" }, ...cells);
    if (options.act || options.detail) {
      made.tabIndex = 0;
      made.classList.add("clickable");
      const press = () => (options.act ? options.act(row) : open(row, made));
      made.addEventListener("click", press);
      made.addEventListener("keydown", (event) => {
        if (event.key === "Enter") press();
      });
    }
    return made;
  };
  const open = (row, below) => {
    const again = opened?.row === row;
    opened?.shown.remove();
    opened = again ? null : { row, shown: element("tr", { class: "detail" }, element("td", { colspan: columns.length }, options.detail(row))) };
    if (opened) below.after(opened.shown);
    options.opened?.(opened && row);
  };
  const inOrder = () => {
    const fitting = rows.filter(matches);
    return order === null ? fitting : fitting.sort(compare);
  };
  const fill = () => {
    const fitting = inOrder();
    heads.forEach((head, c) => head.setAttribute("aria-sort", c !== order ? "none" : down ? "descending" : "ascending"));
    opened = null;
    body.replaceChildren(...fitting.slice(0, shown).map(line));
    const many = (fitting.length === rows.length ? "" : `${fitting.length} of `) + `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "row" : "rows"}`;
    count.textContent = fitting.length > shown ? `${many}, the first ${shown} shown` : many;
    more.hidden = fitting.length <= shown;
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
    const words = [...new Set(rows.map((row) => said(column, row)))];
    if (words.length < 2) continue;
    words.sort(natural);
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
  const groups = [];
  for (const { group = "" } of columns) {
    if (groups.at(-1)?.group === group) groups.at(-1).span++;
    else groups.push({ group, span: 1 });
  }
  const above = groups.map(({ group, span }) => element("th", { colspan: span, scope: "colgroup" }, group));
  const head = element("thead", {}, groups.length > 1 ? element("tr", { class: "groups" }, ...above) : null, element("tr", {}, ...heads));
  const table = element("table", { "aria-label": options.caption }, head, body);
  const box = element("div", { class: "scroll" }, table);
  const csv = csvButton(options.caption, () => csvRows(columns, inOrder(), said));
  fill.show = (row, scroll = true) => {
    if (!inOrder().includes(row)) {
      wanted.clear();
      input.value = search = "";
      tools.querySelectorAll("select").forEach((select) => (select.value = ""));
    }
    const at = inOrder().indexOf(row);
    shown = Math.max(shown, at + 1);
    fill();
    open(row, body.children[at]);
    if (scroll) body.children[at].scrollIntoView({ behavior: "smooth", block: "center" });
  };
  host.replaceChildren(...(rows.length > 8 ? [tools] : []), box, more, csv);
  fill();
  sayWhatIsHidden(box);
  return fill;
}

/** Above a table that is wider or higher than its box stands how much of it is out of sight, and what shows it. */
function sayWhatIsHidden(box) {
  const cue = element("p", { class: "soft small cue" });
  box.before(cue);
  const say = () => {
    const heads = [...box.querySelectorAll(":scope > table > thead tr:last-child th")];
    const edge = box.getBoundingClientRect().right + 1;
    const beyond = heads.filter((head) => head.getBoundingClientRect().right > edge).length;
    const [wide, high] = [box.scrollWidth > box.clientWidth + 1, box.scrollHeight > box.clientHeight + 1];
    cue.hidden = !wide && !high;
    const sideways = beyond ? `${beyond} of ${counted(heads.length, "column")} further to the right: scroll the table sideways \u2192` : "\u2190 Scroll the table sideways for the first columns";
    const foot = box.getBoundingClientRect().bottom + 1;
    const rows = high ? [...box.querySelectorAll(":scope > table > tbody > tr")] : [];
    const below = rows.filter((row) => row.getBoundingClientRect().bottom > foot).length;
    const down = below ? `${below} of ${counted(rows.length, "row")} further down: scroll the table \u2193` : "\u2191 Scroll the table up for the first rows";
    cue.textContent = [wide ? sideways : "", high ? down : ""].filter(Boolean).join("; ");
    box.tabIndex = cue.hidden ? -1 : 0; // so that the arrow keys scroll it, too
  };
  box.addEventListener("scroll", say, { passive: true });
  const watch = new ResizeObserver(say);
  for (const part of [box, ...box.children]) watch.observe(part);
}
