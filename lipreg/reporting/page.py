"""The skeleton of the HTML report: one file, no network, no script, light or dark as the reader's system asks."""

from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --paper: #fbfbf9; --card: #ffffff; --ink: #1b1b1d; --soft: #5b5d66; --line: #dcdce0; --grid: #d9d9de;
  --run: #0072b2; --twin: #c24e00; --good: #0b6b4f; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #141519; --card: #1d1f25; --ink: #ececf0; --soft: #a5a8b3; --line: #34363f; --grid: #363842;
    --run: #56b4e9; --twin: #f0934e; --good: #5fd0ab; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 28px 56px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 1.15rem; margin: 40px 0 10px; }
p { margin: 0 0 10px; max-width: 78ch; }
h1, h2, p, dd, .value, .settings td { overflow-wrap: anywhere; }
p { text-wrap: pretty; }
.soft { color: var(--soft); }
.small { font-size: 0.86rem; }
.run { color: var(--run); }
.twin { color: var(--twin); }
.cards { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 14px; margin: 24px 0 18px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.card h2 { font-size: 0.86rem; font-weight: 600; color: var(--soft); margin: 0 0 8px; }
.value { font-size: 1.15rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.value span { font-size: 0.82rem; font-weight: 500; }
.card p { margin: 6px 0 0; font-size: 0.84rem; color: var(--soft); }
.verdict { border-left: 4px solid var(--good); background: var(--card); padding: 12px 16px; border-radius: 0 8px 8px 0;
  max-width: none; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); stroke-linejoin: round; }
.narrow { display: none; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 12px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody tr:last-child th, tbody tr:last-child td { border-bottom: 0; }
thead th { font-size: 0.8rem; color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; }
.number { text-align: right; }
.points td, .points th { white-space: nowrap; }
.points .wrap { white-space: normal; min-width: 9em; }
.first th, .first td { border-top: 1px solid var(--soft); }
dl { display: grid; grid-template-columns: minmax(9em, max-content) minmax(0, 1fr); gap: 6px 20px; margin: 0; }
dt { font-weight: 600; }
dd { margin: 0; max-width: 80ch; }
.settings td { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.8rem; }
@media (max-width: 900px) { .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 620px) {
  main { padding: 20px 14px 40px; }
  h1 { font-size: 1.4rem; }
  .cards { grid-template-columns: minmax(0, 1fr); }
  .wide { display: none; }
  .narrow { display: block; }
  figure { padding: 6px; }
  th, td { padding: 6px 8px; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: 10px; }
}
</style>
</head>
<body>
<main>
<h1>Did the penalty move the truth?</h1>
<p>$question</p>
<p class="soft small">$pair</p>
<section class="cards" aria-label="Results">
$cards
</section>
<p class="verdict"><strong>$verdict</strong></p>
$notes
<h2>Over training</h2>
<figure>
<div class="wide">$figure</div>
<div class="narrow">$narrow_figure</div>
</figure>
<h2>Side by side</h2>
<div class="scroll">$comparison</div>
<h2>What the numbers mean</h2>
<dl>
$glossary
</dl>
<h2>Every reference point</h2>
<div class="scroll points">$points</div>
<h2>What the statuses mean</h2>
<dl>
$statuses
</dl>
<h2>Settings</h2>
<div class="scroll settings">$settings</div>
</main>
</body>
</html>
""")
