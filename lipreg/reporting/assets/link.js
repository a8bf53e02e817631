// What is shown, as the fragment of the page's address: whoever opens the address sees the same.

/** The choices {run, question, units, epoch, point} that the address names, as texts. */
const readLink = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Adds choices to the address; those that are null are taken away. */
function writeLink(choices) {
  const told = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(choices)) {
    if (value === null) told.delete(name);
    else told.set(name, value);
  }
  const fragment = `#${told}`;
  if (fragment === location.hash) return;
  written = fragment;
  location.replace(fragment);
}

let written = null;

/** Calls back where somebody else has changed the address: a link in the page, or by hand. */
function followLink(change) {
  addEventListener("hashchange", () => {
    if (location.hash !== written) change();
  });
}
