"""The status page for a browser: one HTML document that needs nothing from anywhere else.

It reads /status every two seconds and at each event of /events, and can order nothing: an order that
bears Origin is refused, and a browser sends that with every POST. All that is shown comes from elsewhere
(paths from clients, names from DNS), so it is put in as text, never as HTML; and the policy beside the
page lets no script run but this one, for the day on which somebody forgets.
"""

from __future__ import annotations

import base64
import hashlib

__all__ = ["PAGE", "POLICY"]

STYLE = """
:root { color-scheme: light dark; --dim: #667; --line: #d5d7de; --back: #fff; --text: #1b1d24;
  --card: #f6f7f9; --good: #1a7f37; --warn: #9a6700; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --dim: #9aa0ad; --line: #343944; --back: #14161b;
  --text: #e6e8ee; --card: #1d2027; --good: #56c271; --warn: #e0af3f; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 75rem; background: var(--back);
  color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: baseline; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
.dim { color: var(--dim); } .good { color: var(--good); } .warn { color: var(--warn); }
.bad { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--dim); font-weight: 500; white-space: nowrap; }
td.number, th.number { text-align: right; }
td.path { overflow-wrap: anywhere; min-width: 10rem; }
.target { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .6rem 1rem; margin: .6rem 0; }
.target h3 { display: inline; font-size: 1rem; margin: 0 1rem 0 0; }
#events { list-style: none; margin: 0; padding: 0; font-family: ui-monospace, monospace;
  font-size: .85rem; }
#events li { padding: .15rem 0; overflow-wrap: anywhere; }
"""

SCRIPT = """
"use strict";
const at = id => document.getElementById(id);
function make(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}
const clock = unix => new Date(unix * 1000).toLocaleTimeString();
function span(seconds) {
  if (seconds < 60) return seconds.toFixed(seconds < 10 ? 2 : 0) + " s";
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const first = units.findIndex(([, size]) => seconds >= size);
  return units.slice(first, first + 2).map(([name, size], index) =>
    Math.floor(index ? seconds % units[first][1] / size : seconds / size) + " " + name).join(" ");
}
function table(place, heads, rows, empty) {
  place.replaceChildren();
  if (!rows.length) { place.append(make("p", empty, "dim")); return; }
  const body = make("table"), top = make("tr");
  heads.forEach(([text, kind]) => top.append(make("th", text, kind)));
  body.append(top);
  rows.forEach(cells => {
    const row = make("tr");
    cells.forEach(([text, kind], index) => row.append(make("td", text, kind || heads[index][1])));
    body.append(row);
  });
  place.append(body);
}
const NUMBER = "number";
const COLOURS = { "ok": "good", "suspect": "warn", "unavailable": "warn", "failed": "bad", "held down": "bad" };
function showTarget(target) {
  const card = make("div", undefined, "target");
  card.append(make("h3", target.name));
  const low = target.budget_remaining < 0.2;
  card.append(make("span", `${target.requests} requests, ${target.outstanding} outstanding, ` +
    `${target.failovers} failovers, ${target.resent} resent, `, "dim"));
  card.append(make("span", `budget ${Math.round(target.budget_remaining * 100)} %`,
    low ? "warn" : "dim"));
  const place = make("div", undefined, "wide");
  card.append(place);
  table(place, [["address"], ["origin"], ["tier"], ["state"], ["failures", NUMBER],
    ["idle", NUMBER], ["leased", NUMBER]],
    target.endpoints.map(each => [[each.address], [each.origin],
      [each.tier ? "backup" : "url"],
      [each.state + (each.held_for === null ? "" : `, asked again in ${span(each.held_for)}`)
        + (each.state === "failed" && each.leased ? ", no answer since" : "")
        + (each.health ? `, health request ${each.health}` : ""),
       COLOURS[each.state]], [each.failures], [each.idle], [each.leased]]),
    "no address is known yet: nobody has asked");
  return card;
}
function show(report) {
  at("state").textContent = report.state;
  at("state").className = report.state === "running" ? "good" : "warn";
  at("about").textContent = `version ${report.version}, process ${report.pid}, up ` +
    `${span(report.uptime)}, generation ${report.generation} of ${report.config_file}, ` +
    `${report.outstanding} outstanding, ${report.replay_bytes} bytes kept for resends`;
  table(at("listeners"), [["listener"], ["bind"], ["connections", NUMBER], ["limit", NUMBER],
    ["outstanding", NUMBER], ["requests", NUMBER], [""]],
    report.listeners.map(each => [[each.name], [each.bind], [each.connections], [each.limit],
      [each.outstanding], [each.requests], [each.is_paused ? "paused" : "", "bad"]]),
    "no listener is open");
  at("targets").replaceChildren(...report.targets.map(showTarget));
  table(at("destinations"), [["listener"], ["destination"], ["address"], ["state"]],
    report.destinations.flatMap(one => one.endpoints
      .filter(each => !["ok", "untried"].includes(each.state))
      .map(each => [[one.listener], [one.origin], [each.address],
        [each.state, COLOURS[each.state]]])),
    "none in trouble");
  table(at("failovers"), [["at"], ["target"], ["request"], ["from"], ["verdict"], ["to"],
    ["took", NUMBER]],
    report.last_failovers.map(each => [[clock(each.at)], [each.target],
      [`${each.method} ${each.path}`, "path"], [each.from],
      [each.verdict + (each.evidence ? `: ${each.evidence}` : "")],
      [each.to || "nobody", each.to ? "" : "bad"], [span(each.seconds)]]),
    "none so far");
  table(at("names"), [["name"], ["addresses"], ["source"], ["holds for"], [""]],
    report.dns.map(each => [[each.name], [each.addresses.join(", ")], [each.source],
      [each.ttl === null ? "" : each.ttl < 0 ? "run out" : span(each.ttl)],
      [each.error || (each.is_stale ? "stale" : ""), each.error ? "bad" : "warn"]]),
    "none was looked up");
}
let isAsking = false;
async function refresh() {
  if (isAsking) return;
  isAsking = true;
  try {
    const answer = await fetch("/status", { cache: "no-store" });
    show(await answer.json());
    at("trouble").textContent = "";
  } catch (error) {
    at("trouble").textContent = `the daemon does not answer (${error.message})`;
  }
  isAsking = false;
}
const TEXTS = {
  failover: each => `${each.method} ${each.path}: ${each.from} ${each.verdict}, ` +
    (each.to ? `answered by ${each.to}` : "answered by nobody"),
  health: each => `${each.address} (${[...each.targets, ...each.listeners].join(", ")}): ${each.was} -> ${each.state}`,
  names: each => `${each.origin}: ${each.addresses.join(", ") || "no address"}`,
  reload: each => each.lines.join("; "),
  drain: each => each.lines.join("; "),
  missed: each => `${each.count} events more`,
};
const source = new EventSource("/events");
for (const [kind, text] of Object.entries(TEXTS)) {
  source.addEventListener(kind, event => {
    const item = make("li");
    item.append(make("span", new Date().toLocaleTimeString() + " ", "dim"), make("b", kind + " "),
      text(JSON.parse(event.data)));
    at("events").prepend(item);
    while (at("events").childElementCount > 50) at("events").lastElementChild.remove();
    refresh();
  });
}
refresh();
setInterval(refresh, 2000);
"""

DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>haclient</title>
<style>{style}</style>
</head>
<body>
<header><h1>haclient</h1><span id="state"></span><span id="about" class="dim"></span></header>
<p id="trouble" class="bad" role="status"></p>
<noscript><p>This page needs JavaScript; <a href="/status">/status</a> does not.</p></noscript>
<h2>Targets</h2><div id="targets"></div>
<h2>Listeners</h2><div id="listeners" class="wide"></div>
<h2>Destinations</h2><div id="destinations" class="wide"></div>
<h2>Last failovers</h2><div id="failovers" class="wide"></div>
<h2>Names</h2><div id="names" class="wide"></div>
<h2>Events</h2><ul id="events"></ul>
<script>{script}</script>
</body>
</html>
"""


def _source(text: str) -> str:
    """The hash by which a policy knows a script or a style (CSP Level 3, section 2.3.1)."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


PAGE = DOCUMENT.format(style=STYLE, script=SCRIPT).encode()

POLICY = (
    f"default-src 'none'; style-src {_source(STYLE)}; script-src {_source(SCRIPT)}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()
