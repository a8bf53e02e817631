// Tables as files: what a table shows, as CSV, made by the page itself.

/** A cell of a CSV file. What a spreadsheet would take for a formula is marked as text. */
function csvCell(value) {
  if (typeof value === "number") return String(value);
  const words = String(value ?? "");
  const text = /^[=+@\t\r]|^-(?![\d.]+(e|$))/.test(words) ? `'${words}` : words;
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

/** A button that saves rows of cells, the headings first. */
function csvButton(caption, rows) {
  const button = element("button", { type: "button", class: "save", title: `Save ${caption} as a CSV file` }, "CSV");
  button.addEventListener("click", () => {
    const text = rows().map((row) => row.map(csvCell).join(",")).join("\r\n");
    const address = URL.createObjectURL(new Blob([`\ufeff${text}\r\n`], { type: "text/csv" }));
    element("a", { href: address, download: `${caption.replace(/\W+/g, "-")}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  });
  return button;
}

/**
 * Columns of `makeTable` as rows of a CSV file: numbers in all their digits; where they are shown in other words, as an
 * interval is, these stand beside them.
 */
function csvRows(columns, rows, said) {
  const cells = columns.flatMap((column) => {
    const values = rows.map((row) => column.value(row));
    const words = rows.map((row) => said(column, row));
    const name = [column.group, column.name].filter(Boolean).join(": ");
    const numeric = column.number && values.some((value) => typeof value === "number");
    if (!numeric) return [[name, ...words]];
    const plain = words.every((word, i) => values[i] === null || Math.abs(Number(word) - values[i]) <= 1e-2 * Math.abs(values[i]));
    return [[name, ...values], ...(plain ? [] : [[`${name} (as shown)`, ...words]])];
  });
  return [-1, ...rows.keys()].map((i) => cells.map((column) => column[i + 1]));
}

/** A table that is there without a script gets its button below. */
function offerCsv(box) {
  const caption = box.querySelector("thead th:not(:empty)")?.textContent || "table";
  const cells = (row) => [...row.children].map((cell) => cell.textContent);
  box.after(csvButton(caption, () => [...box.querySelectorAll("tr")].map(cells)));
}
