"""How a written page looks: one stylesheet, in light and dark, from a telephone's width to a desk's, and on paper.

What colours tell is told by words, places or lines too. Fonts are those of the reader's machine: nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "page": "#faf9f6",
    "text": "#1f1e1b",
    "muted": "#635f56",
    "line": "#dcd8ce",
    "user": "#e6eef8",
    "user-line": "#b3c8e2",
    "model": "#ffffff",
    "link": "#1d5799",
    "alarm": "#96320c",
    "mark": "#efebe1",
}
DARK: Mapping[str, str] = {
    "page": "#161614",
    "text": "#e8e5dd",
    "muted": "#a9a498",
    "line": "#3a3833",
    "user": "#1c2b3d",
    "user-line": "#3a5576",
    "model": "#201f1c",
    "link": "#8fbcf0",
    "alarm": "#f3a582",
    "mark": "#302e29",
}
"""Colours by what they are for, as #rrggbb. What is read has at least 4.5 : 1 to its ground (WCAG 2.2, 1.4.3)."""


def _variables(palette: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


STYLE = (
    f":root {{ color-scheme: light dark; {_variables(LIGHT)} }}\n"
    f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}\n"
    """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0 auto; max-width: 56rem; padding: 2.5rem 1.5rem 4rem;
  background: var(--page); color: var(--text); overflow-wrap: anywhere; tab-size: 4;
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
}
h1, h2, h3, h4, p, dl, dd, ol { margin: 0; padding: 0; }
h1, .conversation > header > h2 {
  font: 600 2rem/1.25 "Iowan Old Style", Charter, "Palatino Linotype", "URW Palladio L", P052, Georgia, serif;
  text-wrap: balance; letter-spacing: -0.01em;
}
.conversation > header > h2 { font-size: 1.7rem; }
[dir] { text-align: start; }
a { color: var(--link); text-underline-offset: 0.2em; text-decoration-thickness: 1px; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 3px; border-radius: 2px; }
.word { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.small, time, .role { color: var(--muted); }
.small, time, .role { font-size: 0.8125rem; line-height: 1.5; font-variant-numeric: tabular-nums; }
.code { font: 0.8125rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", "DejaVu Sans Mono", monospace; }
.text { white-space: pre-wrap; unicode-bidi: plaintext; }
code { font: 0.875em/1.6 ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", "DejaVu Sans Mono", monospace; }
.text.code { unicode-bidi: isolate; }
.erased { color: var(--muted); font-style: italic; }
.erased { display: table; border: 1px dashed; border-radius: 0.3rem; padding: 0 0.5rem; }
.message, .contents li, dd { overflow: clip; overflow-clip-margin: 6px; } /* marks heaped on a letter stay within */
bdi { color: var(--muted); background: var(--mark); border-radius: 0.2rem; padding: 0 0.15em; }
bdi { font: 0.8em ui-monospace, Menlo, Consolas, "Noto Sans Mono", "DejaVu Sans Mono", monospace; }
.alarm { color: var(--alarm); font-weight: 600; }

.contents { margin: 1.5rem 0 0; }
.contents ol { list-style: none; border-top: 1px solid var(--line); }
.contents li { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: baseline; justify-content: space-between; }
.contents li { border-bottom: 1px solid var(--line); padding: 0.6rem 0; }
.contents a { flex: 1 1 16rem; font-weight: 500; text-decoration: none; }
.contents a:hover { text-decoration: underline; }

.conversation + .conversation, .contents + main > .conversation { margin-top: 4rem; }
.conversation > header { padding-bottom: 1.5rem; border-bottom: 1px solid var(--line); }
dl { display: grid; gap: 0.15rem 0; margin-top: 1rem; font-size: 0.875rem; line-height: 1.5; }
dl > div { display: grid; grid-template-columns: 8.5rem minmax(0, 1fr); gap: 1rem; align-items: baseline; }
dt { color: var(--muted); }
dd time { font-size: inherit; color: inherit; }
details > summary { cursor: pointer; width: fit-content; max-width: 100%; }
.more { margin-top: 1rem; font-size: 0.875rem; }
.more > summary { color: var(--link); }
.more dl { margin-top: 0.5rem; font-size: inherit; }
.given { border-bottom: 1px solid var(--line); padding: 1.1rem 0; }
.given > summary > * { display: inline; }
.given h2, .given h3 { font-size: 1rem; font-weight: 650; }
.given > .text, .given > ol { margin-top: 0.6rem; }
.given > ol { list-style: none; display: grid; gap: 0.9rem; }
.given > ol dl { margin: 0; font-size: inherit; line-height: inherit; gap: 0.3rem; }
.given > ol > li { border-inline-start: 3px solid var(--line); padding-inline-start: 1rem; }

.turn { position: relative; margin: 0 -0.5rem; padding: 1.25rem 0.5rem 0.5rem 4.75rem; }
.number { position: absolute; inset-inline-start: 0.5rem; white-space: nowrap; }
.number { font-size: 0.8125rem; line-height: 1.5; font-weight: 400; font-variant-numeric: tabular-nums; }
.number { padding-top: 0.75rem; }
.number a { color: var(--muted); text-decoration: none; padding: 0.15rem 0.4rem; margin-inline-start: -0.4rem; }
.number a:hover { color: var(--link); text-decoration: underline; }
.turn:target > .number a { color: var(--page); background: var(--link); border-radius: 0.3rem; font-weight: 600; }
.message { border: 1px solid var(--line); border-radius: 1rem; padding: 0.7rem 1.1rem 0.85rem; }
.message > header { display: flex; flex-wrap: wrap; gap: 0 0.6rem; align-items: baseline; margin-bottom: 0.15rem; }
.message > header time { margin-inline-start: auto; }
.author { font-size: 0.875rem; font-weight: 650; }
.message > .small { margin-top: 0.5rem; }
.user { background: var(--user); border-color: var(--user-line); border-end-end-radius: 0.2rem; }
.user { margin-inline-start: auto; width: fit-content; min-width: min(20rem, 100%); max-width: calc(100% - 3.5rem); }
.model { background: var(--model); border-end-start-radius: 0.2rem; }
.user + .model { margin-top: 0.75rem; }
.other { border-style: dashed; border-color: var(--muted); margin-top: 0.75rem; }
.others { margin-top: 0.75rem; }
.others > summary { font-size: 0.875rem; color: var(--link); padding-inline-start: 0.25rem; }
.unanswered { margin-top: 0.75rem; border-inline-start: 3px solid var(--alarm); padding: 0.1rem 0 0.1rem 1rem; }
.back { margin-top: 1.75rem; font-size: 0.875rem; }
.colophon { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 0.75rem; }

/* Of a long page what is out of sight is not laid out: 20,000 turns were there after 2.6 s, not 12.3 (Chromium 150).
   Not of a short one: a picture of the whole page would have holes. */
@media screen { .far { content-visibility: auto; contain-intrinsic-size: auto 12rem; } }
@media (max-width: 44rem) {
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  .conversation > header > h2 { font-size: 1.4rem; }
  .turn { padding: 0.75rem 0.5rem 0.5rem; }
  .number { position: static; padding: 0 0 0.4rem; }
  .number .word { position: static; width: auto; height: auto; clip-path: none; }
  .user { max-width: calc(100% - 1.75rem); }
  .message { padding: 0.6rem 0.9rem 0.75rem; }
  dl > div { grid-template-columns: 6.5rem minmax(0, 1fr); }
}
@page { margin: 18mm 16mm 20mm; @bottom-center { content: counter(page); font: 9pt sans-serif; color: #666; } }
@media print {
  :root { color-scheme: light; --page: #fff; --model: #fff; }
  body { max-width: none; padding: 0; font-size: 10.5pt; line-height: 1.5; }
  a { color: inherit; text-decoration: none; }
  .turn { padding-top: 0.75rem; padding-bottom: 0.25rem; }
  .user { background: none; border-width: 1px 1px 1px 3px; border-color: #888; }
  .message { padding: 0.45rem 0.8rem 0.55rem; }
  .message { box-decoration-break: clone; -webkit-box-decoration-break: clone; }
  .short, .unanswered, dl > div { break-inside: avoid-page; }
  h1, h2, h3, h4, summary, .message > header, .number, .user.short { break-after: avoid-page; }
  .text { orphans: 3; widows: 3; }
  .contents { break-after: page; }
  .contents li { break-inside: avoid; }
  .conversation + .conversation { break-before: page; margin-top: 0; }
  .contents + main > .conversation:first-child { margin-top: 0; }
  summary { list-style: none; }
  summary::-webkit-details-marker { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .more > summary, .others > summary { color: inherit; }
  .back { display: none; }
}
"""
)
"""The contents of the one style element of a page."""
