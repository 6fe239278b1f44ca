"""What a page looks like: the shell around every page, its style and script, toasts, the palette, Markdown.

    @rt("/hello", methods=["GET"])
    def hello(): return Title("Hello"), P("In the shell, with navigation, by itself.")

    return toast("Deleted “Soup”", undo=entry_id)          # from a POST: says it, with an Undo button

Pages are plain navigations; parts of a page are asked for again by htmx when what they show has changed
(`changed("recipes")` in events.py), and morphed, so focus and what is being typed stay. The script holds no state:
it wires keys, dialogs, toasts and the socket to attributes in the HTML. A key is declared where it works:
`data_key="n"` on a button is pressed by n, on an input focused by it; inside a row, `data_row_key`.
"""
import functools, hashlib, json
from datetime import datetime
from typing import Any
from collections.abc import Callable
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from .base import *
from .assets import static_folder
from .events import changed
from .fields import clip
from .store import db, store

# Our tones under Pico's names.
PICO = "".join(f"--pico-{name}: var(--{tone}); "
    for tone, names in dict(ink="color form-element-color secondary-inverse",
        dim="muted-color form-element-placeholder-color",
        accent="primary primary-background primary-hover primary-hover-background", soft="primary-focus",
        paper="primary-inverse", line="muted-border-color", hover="secondary-background",
        edge="form-element-border-color switch-background-color secondary-border",
        card="form-element-background-color form-element-active-background-color").items()
    for name in names.split())
# Stone and teal: one accent, both themes; lines are glass; sizes in rem.
STYLE = ":root:root { " + PICO + """
  --paper: light-dark(#fbfaf8, #181716); --card: light-dark(#fff, #201f1d); --ink: light-dark(#22201d, #e9e6e1);
  --dim: light-dark(#6b665f, #a39d94); --edge: light-dark(#c9c4bb, #4b4844); --bad: light-dark(#b3261e, #f2908a);
  --accent: light-dark(#0f6b62, #4fc3b5); --soft: #3ba2; --hover: #9982; --line: #9983;
  --shade: 0 8px 28px #0002; --pico-border-radius: .45rem;
  --pico-font-family: "Segoe UI", Inter, Cantarell, "Noto Sans", "Liberation Sans", system-ui;
  --pico-typography-spacing-vertical: .75rem;
  --pico-form-element-spacing-vertical: .38rem; --pico-form-element-spacing-horizontal: .75rem;
  background: var(--paper); font-size: 100%; scrollbar-color: var(--line) transparent }
body { display: grid; grid-template: "nav top panel" auto "nav main panel" 1fr / 14rem minmax(0, 1fr) auto;
  min-height: 100dvh; font-size: .9375rem; overflow-wrap: break-word; -webkit-font-smoothing: antialiased }

/* words */
h1, h2, h3 { margin: 0 0 .75rem; color: var(--ink); font-size: 1.1rem; font-weight: 640;
  letter-spacing: -.015em; text-wrap: balance }
h1 { font-size: 1.6rem }
a { text-decoration: none }
main :is(p, td, li) > a:hover { text-decoration: underline }
small, .small, .chip, .diff, .log button, thead th, pre { font-size: .8125rem }
time, .number { font-variant-numeric: tabular-nums }
.number { text-align: right }
.chip { display: inline-block; padding: 0 .5rem; border-radius: 1rem; background: var(--hover) }
.icon { width: 1.1em; height: 1.1em; flex: none; vertical-align: -.18em; fill: none; stroke: currentColor;
  stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round }
code, kbd, pre { background: var(--hover); color: var(--ink) }
kbd, .mono, #nav h2 { font-size: .75rem }
kbd { padding: .1rem .35rem }
pre { padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere }
blockquote { padding-block: 0 }
.prose { max-width: 44rem }

/* what is pressed */
:is(button, [role=button]) { display: inline-flex; gap: .4rem; align-items: center; justify-content: center;
  width: auto; margin: 0; font-size: inherit; font-weight: 550 }
.plain, .quiet { color: var(--ink); font-weight: 450; &:hover { background: var(--hover) } }
.plain { background: none; border-color: transparent }
.quiet { background: var(--card); border-color: var(--edge) }
.icon-only { padding-inline: .5rem }
:focus-visible { outline: 2px solid var(--accent) !important; box-shadow: none !important }
.skip { position: absolute; z-index: 60; padding: .5rem; background: var(--card); &:not(:focus) { left: -99rem } }
input, select, textarea { font-size: inherit }
[type=radio] { flex: none; margin: 0 }
[type=checkbox] { flex: none; margin: 0; border-width: 1px; border-radius: .25rem }
[type=file] { --pico-spacing: 1rem; &.drop { height: auto; margin: 0; padding: 1.1rem; text-align: left } }
::file-selector-button { border: 1px solid var(--edge) !important; background: none !important;
  color: var(--ink) !important }
[type=search] { border-radius: .45rem }
::-webkit-search-cancel-button { filter: grayscale(1) }
:is(.row, .bar) :is(select, input:not([type=checkbox])) { width: auto }

.muted, .empty, .find, .grip, .mono, .pager, kbd, #nav h2, thead th, thead a { color: var(--dim) }
.chip, .find, .number, .tight, time, summary, thead th { white-space: nowrap }

/* boxes */
.row, .bar, .field, .menu, th, td, li, dialog { --pico-spacing: 0rem }
.row, .bar, .head, .pager, .actions, .bool, .toast, .brand, dialog footer, #top, #bulk :is(label, span) {
  display: flex; gap: .5rem; align-items: center }
.row, .bar, .head { flex-wrap: wrap }
.bar, .head { margin-bottom: 1rem }
.grow { flex: 1; min-width: 0 }
.stack > :is(p, h2) { margin: 0 }
.stack, .tiles, .fields, #toasts { display: grid; gap: 1rem }
.tiles, .fields { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }
.card, .table, #bulk, .menu > div, dialog > article { background: var(--card); border: 1px solid var(--line);
  border-radius: .7rem }
.card { padding: 1.25rem; &.bad { border-color: var(--bad) } > details { margin-bottom: .75rem } }
.tile { display: grid; gap: .35rem; align-content: start; color: var(--ink); > * { margin: 0 !important }
  &:hover { border-color: var(--accent) } }
.empty { padding: 3.5rem 1.5rem; text-align: center; details { text-align: left }
  .row { justify-content: center; margin-top: 1rem } }
.foreign { width: 100%; min-height: 16rem; background: #fff }
#bulk, .menu > div, dialog > article, .toast, #banner { box-shadow: var(--shade) }

/* the shell */
#nav, #panel { position: sticky; top: 0; z-index: 40; height: 100dvh; padding: 1rem .75rem; overflow-y: auto;
  background: var(--paper) }
#nav { grid-area: nav; display: block; border-right: 1px solid var(--line);
  ul, li { display: block; margin: 0; padding: 0 }
  h2 { margin: 0; padding: 1rem .6rem .2rem } }
.brand { padding: 0 .6rem 1rem; color: var(--ink); font-size: 1rem; font-weight: 680;
  svg { height: 1.4rem; fill: var(--accent) } }
:is(#nav li a, .menu div :is(a, button, label), [role=option]) { display: flex; gap: .6rem; align-items: center;
  justify-content: start; width: 100%; margin: 0; padding: .35rem .6rem; border: 0; border-radius: .45rem;
  background: none; color: var(--ink); font-weight: 450; &:hover { background: var(--hover) }
  &[aria-current], &[aria-selected=true] { background: var(--soft); color: var(--accent); font-weight: 580 }
  small { margin-left: auto } }
.mono { display: grid; place-items: center; width: 1.35rem; height: 1.35rem; flex: none; border-radius: .35rem;
  background: var(--hover); font-weight: 650;
  [aria-current] & { background: var(--accent); color: var(--paper) } }
.danger, .error, small.error { color: var(--bad) }
#top { grid-area: top; padding: .6rem 1.75rem }
.find { flex: 0 1 22rem; min-width: 2.4rem; justify-content: space-between;
  span { overflow: hidden; text-overflow: ellipsis } }
#main { grid-area: main; max-width: 82rem; padding: .5rem 1.75rem 5rem }
.head h1 { flex: 1; min-width: 8rem; margin: 0 }
#panel { grid-area: panel; width: 20rem; border-left: 1px solid var(--line) }
:not(.panel-open) > #panel, :not(.offline) > #banner, body:not(:has([name=ids]:checked)) #bulk,
  .only-narrow, .menu > summary::after { display: none }

/* tables */
.table { overflow-x: auto }
table { margin: 0 }
th, td { padding: .5rem .75rem; border-bottom: 1px solid var(--line); background: none }
tbody tr:last-child > *, .log li:last-child { border: 0 }
td { max-width: 26rem; .row { flex-wrap: nowrap } }
thead { a:hover, [aria-sort] a { color: var(--ink) }
  select { min-width: 9rem; margin-top: .2rem; border-width: 1px; font-weight: 450 } }
tbody tr:is(:hover, :focus) { background: var(--hover); outline-offset: -2px }
.title { color: var(--ink); font-weight: 500 }
.done :is(.title, .text), .gone > :first-child { color: var(--dim); text-decoration: line-through }
.tight { width: 1px }
.acts { display: flex; justify-content: end; opacity: .25; button { padding: .2rem .4rem } }
tr:is(:hover, :focus-within) .acts { opacity: 1 }
.grip { cursor: grab; touch-action: none }
.sortable-ghost { opacity: .4 }
.pager { margin-top: .75rem }
#bulk { position: sticky; bottom: 1rem; z-index: 5; width: fit-content; margin: 1rem auto 0;
  padding: .5rem .75rem }

/* forms */
.field { margin-bottom: .9rem; > label { margin-bottom: .2rem; font-size: .875rem; font-weight: 550 }
  label .muted { font-weight: 400 } small { display: block; margin-top: .15rem }
  small:not(.error) { color: var(--dim) } }
.fields { gap: 0 1rem; > :is(.long, .markdown, .json, :first-child) { grid-column: 1 / -1 } }
.bool label { order: 1; margin: 0 }
.actions, dialog footer { justify-content: end; margin: 1rem 0 0; padding: 0; border: 0; background: none }

/* what lies on top */
.menu { position: relative;
  > div { position: absolute; right: 0; z-index: 20; min-width: 13rem; max-height: 60vh; padding: .4rem;
    overflow-y: auto } }
:not(.menu) > summary { width: fit-content; --pico-spacing: 1rem }
dialog { padding: 1rem; background: #0006; backdrop-filter: none;
  > article { max-height: 90dvh; padding: 1.5rem } }
#palette > article { align-self: start; margin-top: 10vh; padding: .75rem }
#palette-results { max-height: 55vh; margin-top: .5rem; overflow-y: auto }
#toasts, #banner { position: fixed; left: 50%; z-index: 50; width: max-content; max-width: 94vw;
  translate: -50% }
#toasts { bottom: 1rem }
#banner { top: .6rem }
.toast, #banner { padding: .5rem 1rem; border-radius: .6rem; background: var(--ink); color: var(--paper);
  transition: opacity .2s; @starting-style { opacity: 0 } }
.toast button { padding: .2rem .5rem; background: none; border: 0; color: inherit }
.toast.bad, #banner { background: var(--bad) }

/* the journal */
.log { padding: 0; li { display: block; margin: 0; padding: .55rem 0; border-bottom: 1px solid var(--line) }
  .row { gap: 0 .5rem } button { min-height: 1.6rem; padding: .1rem .45rem } }
.diff { :is(td, th) { padding: .25rem .5rem; vertical-align: top } del { color: var(--bad) }
  ins { color: var(--accent) } }
.htmx-request.spins, .htmx-request .spins { opacity: .5; pointer-events: none }

@media (max-width: 75rem) {
  #panel { display: none; position: fixed; right: 0; max-width: 90vw; box-shadow: var(--shade);
    .panel-over > & { display: block } } }
@media (max-width: 48rem) {
  body { grid-template: "top" auto "main" 1fr / minmax(0, 1fr) }
  #main, #top { padding-inline: 1rem }
  .only-narrow { display: inline-flex }
  #nav { position: fixed; width: 16rem; box-shadow: var(--shade) }
  :not(.nav-over) > #nav, #top :is(kbd, .grow, [data-key]), .rows thead, .gripping, .rows .void { display: none }
  #top summary { max-width: 8.5rem; overflow: hidden }
  h1 { font-size: 1.35rem }
  button, [role=button] { min-height: 2.5rem }
  .rows { border: 0; background: none; table, tbody { display: block }
    tr { display: grid; grid-template-columns: auto 1fr auto; gap: 0 .6rem; align-items: center;
      margin-bottom: .6rem; padding: .6rem .75rem; border: 1px solid var(--line); border-radius: .7rem;
      background: var(--card) }
    td { grid-column: 2; padding: 0; border: 0; text-align: left }
    .tight { width: auto }
    .check, .first, .acting { grid-row: 1 } .check { grid-column: 1 } .acting { grid-column: 3 }
    [data-label]:not(.first)::before { content: attr(data-label) "  "; color: var(--dim); font-size: .8125rem } }
  .acts { opacity: 1 }
  .rows .editing td { grid-column: 1 / -1; grid-row: auto; padding: .2rem 0 }
  .bar { form { display: contents } .wide { flex: 1 1 55%; input { width: 100% } }
    select { flex: 1 1 8rem; order: 1 } } }
@media print { body > :not(main), #bulk, .acts, .bar { display: none !important } body { display: block } }
"""

SCRIPT = """
(() => {
const $ = (selector, from = document) => from.querySelector(selector)
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)]
const body = document.body, dialog = $("#dialog")
const on = (event, act, at = body) => at.addEventListener(event, act)
const post = (url, values) => htmx.ajax("POST", url, {values, swap: "none", source: body})
const filled = (id, act) => new MutationObserver(act).observe($(id), {childList: true})
const signedOut = "This page is signed out. Run: sololith open"

// what has changed: told by the socket and by the answer to our own request, whichever comes first
let seen = +body.dataset.seen
function changed({id, apps = []}) {
  if (id <= seen) return
  seen = id ?? seen
  for (const app of [...apps, "any"]) htmx.trigger(body, "changed-" + app)
}
on("htmx:afterRequest", e => {
  const told = e.detail.xhr.getResponseHeader("Sololith-Changed")
  if (told) changed(JSON.parse(told))
})
on("htmx:wsBeforeMessage", e => {
  e.preventDefault()
  const told = JSON.parse(e.detail.message)
  if (told.problem) toast(told.problem)
  if (told.notice && told.href !== location.pathname) toast(told.notice, told.href)
  changed(told)
})
let opened, late
htmx.config.wsReconnectDelay = tries => {
  clearTimeout(late)
  late = setTimeout(lost, 1500)
  return Math.min(250 * 2 ** tries, 4000) * (0.75 + Math.random() / 2)
}
on("htmx:wsOpen", e => {
  clearTimeout(late)
  body.classList.remove("offline")
  e.detail.socketWrapper.sendImmediately(JSON.stringify({do: "since", id: seen}))
  changed({apps: ["runs-missed", ...opened ? ["plugins", "runs", "jobs"] : $("#headers .chip") ? ["jobs"] : []]})
  opened = true
})
async function lost() {
  const status = await fetch("/nav").then(r => r.status, () => 0)
  if (status === 200) return
  $("#banner").textContent = status === 401 ? signedOut
    : "Sololith is not running. Start it with: sololith — this page goes on by itself."
  body.classList.add("offline")
}

// toasts: they come with an answer (out of band) or from here, and leave by themselves
const toast = (text, href) => $("#toasts").append(Object.assign(document.createElement(href ? "a" : "div"),
  {className: href ? "toast" : "toast bad", textContent: text, href}))
const leave = t => t.timer = setTimeout(() => t.matches(":hover, :focus-within") ? leave(t) : t.remove(),
  $("button", t) ? 9000 : 5000)
filled("#toasts", () => $$("#toasts > *").forEach(t => t.timer ?? leave(t)))
on("htmx:sendError", () => toast("Sololith does not answer. Is it running? What you typed is still here."))
on("htmx:responseError", e => { if (e.detail.xhr.status === 401) toast(signedOut) })

// dialogs: one for forms, filled by htmx; it opens when something is put into it and closes when it is emptied
filled("#dialog-body", () => {
  if (!$("#dialog-body > *")) dialog.close()
  else if (!dialog.open) dialog.showModal()
})
on("close", () => $("#dialog-body").replaceChildren(), dialog)
const fold = t => $$(".menu[open]").forEach(menu => { menu.open = menu.contains(t) })
on("click", e => {
  const t = e.target, near = selector => t.closest(selector), toggle = near("[data-toggle]")?.dataset.toggle
  const opens = near("[data-opens]")?.dataset.opens, left = near("[data-cancel]")?.dataset
  if (t.matches("dialog") || near("[data-close]")) near("dialog").close()
  if (opens) {
    $(opens).showModal()
    const q = $("input", $(opens))
    if (q) { q.value = ""; htmx.trigger(q, "input") }
  }
  if (left) htmx.ajax("GET", left.cancel, {target: left.at, swap: "outerHTML"})
  if (toggle === "panel" && !matchMedia("(max-width: 75rem)").matches)
    post("/ui/panel", {value: body.classList.toggle("panel-open")})
  else if (toggle) body.classList.toggle(toggle + "-over")
  else for (const side of ["nav", "panel"]) near("#" + side) || body.classList.remove(side + "-over")
  fold(t)
})

// keys: declared in the HTML by data-key (pressed or focused) and, within the focused row, data-row-key
const row = () => document.activeElement?.closest("[data-row]")
const typed = "input:not([type=checkbox]), select, textarea, [contenteditable]"
on("keydown", e => {
  const {key, target} = e, ctrl = e.ctrlKey || e.metaKey, typing = target.matches(typed)
  const arrow = {ArrowDown: 1, ArrowUp: -1}[key], by = {j: 1, k: -1}[key]
  const does = act => { e.preventDefault(); act() }
  if (ctrl && /^k$/i.test(key)) return does(() => $("#palette").open ? $("#palette").close() : $(".find").click())
  if (ctrl && key === "Enter" && target.form) return does(() => target.form.requestSubmit())
  if (target.closest("#palette")) {
    const all = $$("#palette [role=option]"), at = all.findIndex(o => o.ariaSelected === "true")
    if (arrow && all.length) does(() => {
      const to = all[(at + arrow + all.length) % all.length]
      all.forEach(o => { o.ariaSelected = o === to })
      to.scrollIntoView({block: "nearest"})
      target.setAttribute("aria-activedescendant", to.id)
    })
    hurried = key === "Enter" && answered !== target.value ? target.value : null
    if (key === "Enter") does(() => hurried ?? (all[at] ?? all[0])?.click())
    return
  }
  if (key === "Escape") {
    const edited = target.closest(".editing")
    if (edited) $("[data-cancel]", edited).click()
    else if (typing) target.blur()
    return fold()
  }
  if (typing || ctrl || $("dialog[open]")) return
  if (e.altKey) return row() && arrow && does(() => nudge(arrow))
  if (by) {
    const all = $$("[data-row]"), at = all.indexOf(row())
    return all[at < 0 ? 0 : at + by]?.focus()
  }
  const keyed = name => `[data-${name}="${CSS.escape(key)}"]`
  const el = target === row() && $(keyed("row-key"), target) || $(keyed("key"))
  if (el) does(() => {
    if (!el.matches(typed)) return el.click()
    el.focus()
    el.select?.()
  })
})
let answered, hurried  // Enter may come before the results for what has been typed
on("htmx:afterSettle", e => {
  answered = e.detail.requestConfig.parameters.q
  if (hurried !== answered) return
  hurried = null
  $("#palette [role=option]")?.click()
}, $("#palette-results"))
on("click", e => { if (e.target.closest("[href], [hx-post]")) $("#palette").close() }, $("#palette"))

// rows: drag or Alt+arrow to order, select several; what is being edited or ticked outlives a morph
function moved(tr) {
  const id = el => el?.dataset.row ?? ""
  post(tr.parentElement.dataset.move,
    {id: id(tr), before: id(tr.nextElementSibling), after: id(tr.previousElementSibling)})
}
function nudge(by) {
  const tr = row(), other = by < 0 ? tr.previousElementSibling : tr.nextElementSibling
  if (!other || !tr.parentElement.dataset.move) return
  by < 0 ? other.before(tr) : other.after(tr)
  tr.focus()
  moved(tr)
}
on("htmx:oobBeforeSwap", e => {  // what comes by itself takes no focus from who types
  if (document.activeElement.matches(":is(input, select, textarea):not(.htmx-request *)"))
    $$("[autofocus]", e.detail.fragment).forEach(el => el.removeAttribute("autofocus"))
})
function count() {
  const boxes = $$("[name=ids]"), n = boxes.filter(box => box.checked).length, all = $("#all-ids")
  if (!all) return
  $("#bulk-count").textContent = n + " selected"
  all.checked = n && n === boxes.length
  all.indeterminate = n && n < boxes.length
}
on("change", e => {
  const t = e.target
  if (t.id === "all-ids") $$("[name=ids]").forEach(box => { box.checked = t.checked })
  if (t.matches("[data-submits]")) t.form.requestSubmit()
  count()
})
Object.assign(Idiomorph.defaults.callbacks, {
  beforeNodeMorphed(old, now) {
    if (old.matches?.(".editing, .lazy, iframe.widget") && old.id === now.id) return false
    if (old.name === "ids") now.toggleAttribute?.("checked", old.checked)
  },
  beforeAttributeUpdated: name => name !== "open",
  beforeNodeRemoved: old => !old.matches?.(".editing"),
})
let here = -1  // the row that the person works in: when it is replaced or goes, the focus stays in its place
on("focusin", e => { here = e.target.closest(".rows tbody tr")?.sectionRowIndex ?? here })
on("pointerdown", e => { if (!e.target.closest(".rows tbody tr")) here = -1 })
htmx.onLoad(part => {
  count()
  const all = $$(".rows tbody tr")
  if (here >= 0 && document.activeElement === body) (all[here] ?? all.at(-1))?.focus()
  for (const list of $$("[data-move]")) Sortable.get(list) || Sortable.create(list,
    {handle: ".grip", animation: 120, onEnd: e => { if (e.oldIndex !== e.newIndex) moved(e.item) }})
  $("[autofocus]", part)?.focus()
})
})()
"""

styles, scripts = [STYLE], [SCRIPT]  # later chapters add their own

ICONS = dict(plus="M12 5v14M5 12h14", search="M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM20 20l-4-4",
    menu="M4 7h16M4 12h16M4 17h16", panel="M4 5h16v14H4zM14 5v14",
    sun="M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1 1M18 18l1 1M5 19l1-1M18 6l1-1",
    trash="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13", pencil="M4 20l1-4L16 5l3 3L8 19z",
    grip="M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01", columns="M4 5h16v14H4zM10 5v14M15 5v14",
    more="M5 12h.01M12 12h.01M19 12h.01", help="M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 18h.01",
    folder="M3 6h6l2 2h10v11H3z", file="M6 3h8l4 4v14H6zM14 3v4h4", upload="M12 16V4M7 9l5-5 5 5M4 20h16",
    download="M12 4v12M7 11l5 5 5-5M4 20h16",
    eye="M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z")
STONE = '<svg viewBox="0 0 12 16" aria-hidden="true"><path d="M2.6 15.5 1.5 3 4 .5h5L10.5 4 9.4 15.5z"/></svg>'
FAVICON = "data:image/svg+xml," + quote(STONE.replace("<svg",
    '<svg xmlns="http://www.w3.org/2000/svg" fill="#0f8a7e"'))
HTMX = json.dumps(dict(allowEval=False, allowScriptTags=False, selfRequestsOnly=True, includeIndicatorStyles=False,
    historyCacheSize=0, refreshOnHistoryMiss=True, defaultSettleDelay=0, globalViewTransitions=False,
    responseHandling=[{"code": "204", "swap": False}, {"code": "...", "swap": True}]))


@functools.cache
def icon(name: str) -> Any:
    "One of ICONS, as wide as a letter, in the colour of the text."
    return NotStr(f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{ICONS[name]}"/></svg>')


# ─── the shell ───

@functools.cache
def bundle(name: str) -> tuple[bytes, str]:
    "app.js or app.css: the libraries and our own, as one file; with the start of its hash, which is in its address."
    folder = static_folder(home.path)
    others, ours, between = (("pico.min.css",), styles,
        "") if name == "app.css" else (("htmx.min.js", "ws.min.js", "idiomorph-ext.min.js", "Sortable.min.js"),
        scripts, "\n;\n")
    text = between.join([*((folder / other).read_text() for other in others), *ours])
    return text.encode(), hashlib.sha256(text.encode()).hexdigest()[:12]


def bundle_url(name: str) -> str: return f"/static/{bundle(name)[1]}/{name}"


@rt("/static/{version}/{name}", methods=["GET"])
def static_get(req: Request):
    if (name := req.path_params["name"]) not in ("app.js", "app.css"): return Response("There is no such file.", 404)
    return Response(bundle(name)[0], media_type="text/javascript" if name == "app.js" else "text/css",
        headers={"cache-control": "max-age=31536000, immutable"})


def navigation(current: str = "") -> FT:
    "The list of apps, pipelines and system pages; it asks for itself again when a plugin comes or goes."
    def item(title: str, href: str, is_broken: bool = False) -> FT:
        here = current == href or current.startswith(f"{href}/")
        return Li(A(Span("!" if is_broken else title[0], cls=f"mono {'danger' if is_broken else ''}",
            aria_hidden="true"), title, href=href, aria_current="page" if here else None))
    sections: dict[str, list] = {"apps": [], "pipelines": [], "system": []}
    for section, title, href in (link for plugin in plugins.values() for link in plugin.links):
        sections[section].append(item(title, href, is_broken=href in broken_links))
    for app in all_apps().values(): sections[app.section].append(item(app.title, f"/{app.name}"))
    return Nav(A(NotStr(STONE), "Sololith", href="/", cls="brand"),
        *[part for name, items in sections.items() if items for part in (H2(name.capitalize()), Ul(*items))],
        id="nav", aria_label="Main", hx_get=f"/nav?at={quote(current)}", hx_trigger=changed("plugins"),
        hx_swap="outerHTML")


KEYS = [("Ctrl K", "find anything, do anything"), ("n", "new record"), ("/", "search this list"),
    ("j  k", "next, previous row"), ("Enter", "open the row"), ("e", "edit the row in place"),
    ("x", "select the row"), ("Alt ↑ ↓", "move the row"), ("Delete", "delete the row"), ("z  Z", "undo, redo"),
    ("Ctrl Enter", "save"), ("Esc", "leave"), ("?", "this help")]


def headers() -> FT:
    "What apps add to the top bar."
    return Div(*[draw() for plugin in plugins.values() for draw in plugin.headers], id="headers", hx_get="/headers",
        hx_trigger=changed("settings", "profiles", "plugins", "jobs"), hx_swap="outerHTML")


sides = {"activity": "any"}  # what the panel can show, each at /NAME, and the app whose changes make it ask again


def side() -> FT:
    "The panel: the side that the person chose, which asks for its content once it is seen."
    now = store.get("ui.side", "chat") if store.get("ui.side", "chat") in sides else "activity"
    tabs = [Button(name.capitalize(), cls="plain", hx_post="/ui/side", name="value", value=name, hx_target="#side",
        hx_swap="outerHTML", aria_pressed=str(name == now).lower()) for name in sorted(sides, reverse=True)]
    return Div(Div(*tabs, cls="tabs"), Div(id=now, hx_get=f"/{now}", hx_swap="morph:innerHTML",
        hx_trigger=f"intersect once, {changed(*sides[now].split())}"), id="side")


def page(title: str, *content: Any, current: str = "") -> Any:
    "A whole page: `content` in the shell. `current` is the path whose navigation entry is marked."
    theme = store.get("ui.theme", "system")
    top = Header(Button(icon("menu"), cls="plain icon-only only-narrow", data_toggle="nav", aria_label="Menu"),
        Button(Span(icon("search"), " Find or do…"), Kbd("Ctrl K"), cls="quiet find", data_opens="#palette",
            aria_haspopup="dialog"), Span(cls="grow"), headers(),
        Details(Summary(icon("sun"), role="button", cls="plain icon-only", aria_label="Theme"),
            Div(*[Button(name.capitalize(), Span("✓") if name == theme else None, hx_post="/ui/theme", name="value",
                value=name) for name in ("system", "light", "dark")]), cls="menu"),
        Button(icon("help"), cls="plain icon-only", data_opens="#help", data_key="?", aria_label="Keyboard help"),
        Button(icon("panel"), cls="plain icon-only", data_toggle="panel", aria_label="Panel: the model, activity"), id="top")
    palette = Dialog(Article(Input(type="search", name="q", placeholder="Find an app, a record, an action…",
        aria_label="Find or do", autocomplete="off", role="combobox", aria_expanded="true",
        aria_controls="palette-results", hx_get="/palette", hx_trigger="input delay:80ms",
        hx_target="#palette-results", hx_sync="this:replace"),
        Div(id="palette-results", role="listbox", aria_label="Results")), id="palette", aria_label="Find or do")
    help_ = Dialog(Article(H2("Keyboard"),
        Table(*[Tr(Th(Kbd(keys), scope="row"), Td(text)) for keys, text in KEYS]),
        Footer(Button("Close", cls="quiet", data_close=True))), id="help", aria_label="Keyboard help")
    return Html(Head(Title(f"{title} · Sololith"), Meta(charset="utf-8"),
        Meta(name="viewport", content="width=device-width, initial-scale=1"),
        Meta(name="htmx-config", content=HTMX), Link(rel="icon", href=FAVICON),
        Link(rel="stylesheet", href=bundle_url("app.css")), Script(src=bundle_url("app.js"), defer=True)),
        Body(A("Skip to content", href="#main", cls="skip"), Div(id="banner", role="alert"), navigation(current),
            top, Main(*content, id="main", tabindex="-1"),
            Div(side(), id="panel", role="complementary", aria_label="Model and activity"),
            Dialog(Article(id="dialog-body"), id="dialog", aria_label="Form"), palette, help_,
            Div(id="toasts", role="status", aria_live="polite"),
            Button(hidden=True, hx_post="/undo", hx_swap="none", data_key="z", aria_label="Undo"),
            Button(hidden=True, hx_post="/undo", hx_vals='{"redo": "1"}', hx_swap="none", data_key="Z",
                aria_label="Redo"), hx_ext="ws,morph", ws_connect="/ws", data_seen=str(db.last_id()),
            cls="panel-open" if store.get("ui.panel", True) else ""), lang="en",
        data_theme=None if theme == "system" else theme)


def into_shell(resp, req: Request) -> Any:  # FastHTML hands over `resp` only where it has no annotation
    "What a handler returned, as a page in the shell; for htmx, as the part that was asked for."
    if isinstance(resp, (Response, str, dict)) or resp is None or callable(resp) and not isinstance(resp, FT):
        return resp
    parts = flat_tuple(resp)
    if "hx-request" in req.headers or any(getattr(p, "tag", "") == "html" for p in parts):
        return tuple(p for p in parts if getattr(p, "tag", "") != "title")
    title = next((str(p.children[0]) for p in parts if getattr(p, "tag", "") == "title" and p.children), "Sololith")
    kept, content = partition(parts, risinstance(HttpHeader))
    return *page(title, *[p for p in content if getattr(p, "tag", "") != "title"], current=req.url.path), *kept


after_handlers.append(into_shell)


def head(title: str, *actions: Any) -> tuple[FT, FT]:
    "A page's title, for the tab and as its heading, with what can be done on the right."
    return Title(title), Div(H1(title), *actions, cls="head")


def toast(text: str, undo: int | None = None, kind: str = "", redo: bool = False) -> FT:
    "A short message at the foot of the page, with an Undo button for a journal entry."
    button = Button("Redo" if redo else "Undo", hx_post="/undo", hx_vals=json.dumps({"entry": undo}),
        hx_swap="none", hx_target="body") if undo else None
    return Div(Div(Span(text), button, cls=f"toast {kind}"), hx_swap_oob="beforeend:#toasts")


def problem_page(what: str, fix: str = "", details: str = "") -> tuple:
    return Title(clip(what, 40)), Div(H2(what), P(fix),
        Details(Summary("Details"), Pre(details), cls="card") if details else None,
        Div(A("Home", href="/", role="button", cls="quiet"), cls="row"), cls="empty")


# ─── the journal, in small ───

def when(at: str) -> FT:
    "A moment of the journal, in local time, as short as it can be said."
    local = datetime.fromisoformat(at).astimezone()
    days = (datetime.now().astimezone().date() - local.date()).days
    day = {0: "", 1: "yesterday "}.get(days, f"{local:%-d %b} " if abs(days) < 300 else f"{local:%-d %b %Y} ")
    return Time(f"{day}{local:%H:%M}", datetime=at, title=f"{local:%A, %-d %B %Y, %H:%M:%S}", cls="muted small")


def entry_item(entry: dict, full: bool = False) -> FT:
    "A journal entry: when, who, what, its difference, and Undo."
    is_there = full and entry["record_id"] and entry["verb"] != "delete" and entry["app"] in all_apps()
    name = Span(entry["summary"])
    if is_there: name = A(entry["summary"], href=f"/{entry['app']}/{entry['record_id']}", cls="title")
    undo = Small(f"undone by {entry['undone_by']}",
        cls="muted") if entry["undone_by"] else Button("Redo" if entry["verb"] == "undo" else "Undo",
        cls="plain muted", hx_post="/undo", hx_swap="none", hx_vals=json.dumps({"entry": entry["id"]}),
        aria_label=f"Undo: {entry['summary']}")
    who = Small(f"{entry['actor']} · {entry['app']}", cls="muted")
    why = A("why?", href=f"/why/{entry['id']}", cls="small muted") if entry["cause"].startswith(("message ",
        "run ")) else None
    facts = Div(when(entry["at"]), who, why, Span(cls="grow"), undo, cls="row")
    if not full: details = None
    elif entry["before"] or entry["after"]:
        details = Details(Summary("Difference", cls="muted small"), difference(entry), id=f"diff-{entry['id']}")
    else: details = A("its parts", href=f"/journal?part_of={entry['id']}", cls="small")
    return Li(name, facts, details, id=f"entry-{entry['id']}", cls="gone" if entry["undone_by"] else "")


def difference(entry: dict) -> FT:
    "Field by field, what a journal entry changed."
    before, after = (json.loads(entry[side] or "{}") for side in ("before", "after"))
    cells = lambda v, tag: Td(tag(clip(v, 300)) if v not in (None, "") else "")
    return Table(*[Tr(Th(n, scope="row"), cells(before.get(n), Del), cells(after.get(n), Ins))
        for n in before | after if before.get(n) != after.get(n) and n not in ("id", "position")
        and (before.get(n), after.get(n)) not in ((None, ""), ("", None))], cls="diff")


@rt("/activity", methods=["GET"])
async def activity(req: Request):
    entries = db.entries("part_of IS NULL AND app != 'settings'", limit=20)
    if not entries:
        return P("What you, the model and your pipelines change is listed here, and can be undone.", cls="muted")
    return Ul(*[entry_item(e) for e in entries], cls="log"), A("All of the journal", href="/journal", cls="small")


@rt("/undo", methods=["POST"])
async def undo_post(req: Request):
    form = await req.form()
    given = str(form.get("entry", ""))
    entry_id = int(given) if given.isdecimal() and len(given) < 18 else None
    entry = await run_in_threadpool(db.undo, entry_id, bool(form.get("redo")))
    return toast(entry["summary"].replace("undo:", "Undone:").replace("redo:", "Redone:"), undo=entry["id"],
        redo=entry["verb"] == "undo")


@rt("/nav", methods=["GET"])
async def nav_get(req: Request): return navigation(req.query_params.get("at", ""))


@rt("/headers", methods=["GET"])
async def headers_get(req: Request): return headers()


@rt("/ui/{name}", methods=["POST"])
async def ui_post(req: Request):
    "Keep how the page looks: the theme, the panel."
    name, value = req.path_params["name"], str((await req.form()).get("value", ""))
    if name == "theme" and value in ("system", "light", "dark"):
        store["ui.theme"] = value
        return HtmxResponseHeaders(refresh="true"), ""
    if name == "side" and value in sides:
        store["ui.side"] = value
        return side()
    if name != "panel": raise Problem(f"There is no setting {clip(name)}.", status=404)
    store["ui.panel"] = value == "true"
    return Response(status_code=204)


# ─── the palette ───

broken_links: set[str] = set()  # navigation entries marked with “!”
commands: list[Callable[[], list[tuple[str, str, str]]]] = []  # each gives (what, kind, href) for the palette


@rt("/palette", methods=["GET"])
async def palette_get(req: Request):
    "Apps, actions and records that fit what is typed."
    q = req.query_params.get("q", "").strip()[:200]
    found = [(app.title, "app", f"/{app.name}") for app in all_apps().values()]
    found += [(title, "page", href) for plugin in plugins.values() for _, title, href in plugin.links] + [entry
        for command in commands for entry in command()]
    words = q.lower().split()
    found = [f for f in found if all(w in f"{f[0]} {f[1]}".lower() for w in words)][:12]
    apps = all_apps()
    for name, record_id in db.search(q, 20):
        if name in apps and record_id in apps[name].table:
            found.append((apps[name].label_of(record_id), apps[name].title, f"/{name}/{record_id}"))
    actions = [(Button, text, "action", dict(hx_post=url, hx_vals=vals, hx_swap="none"))
        for text, url, vals in (("Undo the last change", "/undo", "{}"), ("Redo", "/undo", '{"redo":"1"}'),
            ("Dark theme", "/ui/theme", '{"value":"dark"}'), ("Light theme", "/ui/theme", '{"value":"light"}'),
            ("System theme", "/ui/theme", '{"value":"system"}')) if all(w in text.lower() for w in words)]
    items = [(A, what, kind, dict(href=href)) for what, kind, href in found] + actions
    if not items: return Div(f"Nothing holds “{clip(q, 40)}”.", cls="muted", role="option", aria_disabled="true")
    return [tag(Span(what), Small(kind, cls="muted"), **does, id=f"found-{n}", role="option", tabindex="-1",
        aria_selected="true" if n == 0 else "false") for n, (tag, what, kind, does) in enumerate(items)]


# ─── Markdown ───

@functools.cache
def markdown_parser() -> Any:
    from markdown_it import MarkdownIt  # 20 ms, so only when something is written in Markdown
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


TAGS = set("p br hr h1 h2 h3 h4 h5 h6 strong em del s code pre blockquote ul ol li a table thead tbody tr th td".split())


COPY = '<div class="code"><button type="button" class="quiet" data-copy="code">Copy</button><pre>'


@functools.lru_cache(256)
def markdown_html(text: str) -> str:
    "Markdown as safe HTML: no images, no scripts, nothing that is fetched from anywhere; code can be copied."
    import nh3
    html = nh3.clean(markdown_parser().render(text), tags=TAGS, attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"}, link_rel="noopener noreferrer")
    return html.replace("<pre>", COPY).replace("</pre>", "</pre></div>")


def markdown(text: str) -> FT:
    "Markdown as safe HTML."
    return Div(NotStr(markdown_html(text)), cls="prose")
