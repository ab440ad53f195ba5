// What a page does beyond reading: news while it is open, questions before actions, the theme.
// All that came from outside is set as text; the only HTML is the server's own page, asked for again.
"use strict";

const $ = (id) => document.getElementById(id);

// -- theme: automatic, light, dark; a cookie, so that the server sends the page as it is to look --------------------
const THEMES = { auto: "automatic", light: "light", dark: "dark" };

function showTheme() {
  const button = document.querySelector("[data-theme-switch]");
  button.setAttribute("aria-label", `Theme: ${THEMES[document.documentElement.dataset.theme]}`);
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const root = document.documentElement;
  root.dataset.theme = names[(names.indexOf(root.dataset.theme) + 1) % names.length];
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
  showTheme();
  say(`Theme: ${THEMES[root.dataset.theme]}`);
}

// -- news -----------------------------------------------------------------------------------------------------------
let etag = null;

let told = null;
let isPressed = false;  // a button that is replaced meanwhile would never be clicked

// Shown for a while, and read out.
function say(text) {
  $("news").textContent = text;
  clearTimeout(told);
  told = setTimeout(() => { $("news").textContent = ""; }, 8000);
}

function isBeingRead(region) {
  const selection = document.getSelection();
  return isPressed || $("ask").open || (!selection.isCollapsed && region.contains(selection.anchorNode));
}

function statusOf(region) {
  return region.querySelector("[data-status]")?.dataset.status;
}

function replace(region, fresh) {
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const focusable = "a, button, summary, input, [tabindex]";
  const place = focused && !focused.id ? [...region.querySelectorAll(focusable)].indexOf(focused) : -1;
  const summaryOf = focused?.matches("summary") ? focused.parentElement.id : null;
  for (const old of region.querySelectorAll("details[id]")) {
    const now = fresh.querySelector(`#${CSS.escape(old.id)}`);
    if (now) now.open = old.open;
  }
  const scrolled = [...region.querySelectorAll("pre, .log, .scroll")].map((one) => [one.scrollTop, one.scrollLeft]);
  const before = statusOf(region);
  region.replaceWith(fresh);
  countDown();
  fresh.querySelectorAll("pre, .log, .scroll").forEach((one, index) => {
    if (scrolled[index]) [one.scrollTop, one.scrollLeft] = scrolled[index];
  });
  if (summaryOf) $(summaryOf)?.querySelector("summary").focus({ preventScroll: true });
  else if (focused?.id) ($(focused.id) ?? $("content")).focus({ preventScroll: true });
  else if (place >= 0) fresh.querySelectorAll(focusable)[place]?.focus({ preventScroll: true });
  if (before && statusOf(fresh) !== before) say(`The run is ${statusOf(fresh).toLowerCase()}.`);
}

async function refresh() {
  const response = await fetch(location.href, { headers: etag ? { "If-None-Match": etag } : {} });
  if (response.status === 304) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const region = $("live");
  const fresh = page.getElementById("live");
  if (!region || !fresh || isBeingRead(region)) return;
  etag = response.headers.get("ETag");
  replace(region, document.importNode(fresh, true));
}

let failures = 0;
let took = 0;

async function listen() {
  const wait = Number($("live")?.dataset.poll ?? 0);
  if (!wait) return;
  await new Promise((done) => setTimeout(done, Math.max(wait, 3 * took) * Math.min(2 ** failures, 16)));
  if (!document.hidden) {
    const asked = performance.now();
    try {
      await refresh();
      if (failures) say("The server answers again.");
      failures = 0;
      took = performance.now() - asked;
    } catch {
      failures += 1;
      if (failures === 3) say("The server does not answer; the page shows what it last said.");
    }
  }
  listen();
}

function length(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  for (const [unit, below, names, most] of [[60, 1, "ms", 3600], [3600, 60, "hm", 86400], [86400, 3600, "dh", Infinity]]) {
    if (seconds >= most) continue;
    const rest = Math.floor((seconds % unit) / below);
    return `${Math.floor(seconds / unit)} ${names[0]}${rest ? ` ${rest} ${names[1]}` : ""}`;
  }
  return "";
}

function countDown() {
  for (const one of document.querySelectorAll("[data-until]")) {
    one.textContent = length(Math.max((Date.parse(one.dataset.until) - Date.now()) / 1000, 0));
  }
  for (const one of document.querySelectorAll("[data-since]")) {
    one.textContent = length(Math.max((Date.now() - Date.parse(one.dataset.since)) / 1000, 0));
  }
}

// -- the lists and what one takes from a page -----------------------------------------------------------------------
async function copy(button) {
  const from = button.parentElement.querySelector("pre, code");
  try {
    await navigator.clipboard.writeText(from.textContent);
    say("Copied.");
  } catch {
    document.getSelection().selectAllChildren(from);
    say("The browser does not let the page copy: it is selected instead.");
  }
}

// A row is a large target for its own link; who selects text in it, or presses another link, means that.
function follow(event) {
  const link = event.target.closest(".scroll tbody tr")?.querySelector("a.main");
  const meant = event.ctrlKey || event.metaKey || event.shiftKey || !document.getSelection().isCollapsed;
  if (link && !meant && !event.target.closest("a, button, summary")) link.click();
}

// -- actions --------------------------------------------------------------------------------------------------------
// `data` is JSON as it was typed: parsed here, long numbers would be rounded.
async function post(action, body, data = null) {
  const text = JSON.stringify(body);
  const response = await fetch(`/do/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: data === null ? text : `${text.slice(0, -1)},"data":${data}}`,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

let carryOut = null;

function ask({ title, text = "", yes, danger = false, name = null, data = null, act }) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  $("ask-yes").disabled = false;
  $("ask-yes").classList.toggle("danger", danger);
  $("ask-error").textContent = "";
  $("ask-progress").hidden = true;
  $("ask-name-row").hidden = name === null;
  $("ask-data-row").hidden = data === null;
  $("ask-name").value = name ?? "";
  $("ask-name").required = name !== null;
  $("ask-data").value = data ?? "";
  carryOut = act;
  if (!$("ask").open) $("ask").showModal();
  (name === "" ? $("ask-name") : data === null ? $("ask-no") : $("ask-data")).focus();
}

function typedData() {
  try {
    JSON.parse($("ask-data").value);
  } catch (error) {
    throw new Error(`The data is not JSON: ${error.message}`);
  }
  return $("ask-data").value;
}

async function answered(event) {
  event.preventDefault();
  $("ask-yes").disabled = true;
  $("ask-error").textContent = "";
  try {
    const answer = await carryOut();
    if (answer?.goto) {
      location.assign(answer.goto);
      return;
    }
    $("ask").close();
    if (answer?.said) say(answer.said);
    etag = null;
    await refresh();
  } catch (error) {
    $("ask-error").textContent = error.message;
  }
  $("ask-yes").disabled = false;
}

function askToDo(button) {
  const { do: action, run, step, title, text, yes } = button.dataset;
  const danger = button.classList.contains("danger");
  ask({ title, text, yes, danger, act: () => post(action, { run_id: run, from_step: step ?? null }) });
}

function askToSend(button) {
  const data = button.dataset.data ?? "{}";
  const act = () => post("send", { name: $("ask-name").value }, typedData());
  ask({ title: "Send an event", text: "It goes to the bus, as any other.", yes: "Send", name: button.dataset.name ?? "", data, act });
}

function askToInvoke(button) {
  const { function: id, data = "{}" } = button.dataset;
  const act = () => post("invoke", { function_id: id }, typedData());
  ask({ title: `Invoke ${id}`, text: "A run starts with this data, whatever its triggers.", yes: "Invoke", data, act });
}

// A page of the list at a time, so that it goes on however many there are, and can be left at any point.
async function eachPage(query, count, tell) {
  let [cursor, runs] = [null, 0];
  do {
    const answer = await post("rerun-failed", { query, cursor, count });
    runs += answer.rerun;
    cursor = answer.cursor;
    if (!$("ask").open) break;
    tell(runs, cursor !== null);
  } while (cursor !== null);
  return runs;
}

async function askToRerunAll(button) {
  const query = Object.fromEntries(new URLSearchParams(button.dataset.bulk));
  let runs = 0;
  const act = async () => {
    $("ask-progress").hidden = false;
    $("ask-progress").max = runs;
    const done = await eachPage(query, false, (sofar) => { $("ask-progress").value = sofar; });
    return { said: `${done} runs are started anew.` };
  };
  ask({ title: "Rerun the failed runs of this list?", text: "Counting …", yes: "Rerun them", act });
  $("ask-yes").disabled = true;
  try {
    runs = await eachPage(query, true, (sofar, more) => {
      $("ask-text").textContent = `${sofar} failed runs match${more ? " so far …" : "."} Each gets a new run with the same event; the old ones stay as they are.`;
    });
    $("ask-yes").textContent = `Rerun ${runs}`;
    $("ask-yes").disabled = runs === 0;
  } catch (error) {
    $("ask-error").textContent = error.message;
  }
}

const FORMS = { send: askToSend, invoke: askToInvoke };

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) follow(event);
  else if ("copy" in button.dataset) copy(button);
  else if (button.dataset.do) askToDo(button);
  else if (button.dataset.form) FORMS[button.dataset.form](button);
  else if (button.dataset.bulk !== undefined) askToRerunAll(button);
  else if ("themeSwitch" in button.dataset) nextTheme();
});
addEventListener("pointerdown", () => { isPressed = true; });
for (const kind of ["pointerup", "pointercancel"]) {
  addEventListener(kind, () => setTimeout(() => { isPressed = false; }));
}
$("ask").querySelector("form").addEventListener("submit", answered);
$("ask-no").addEventListener("click", () => $("ask").close());
document.querySelector(".filters select[name=within]")?.addEventListener("change", () => {
  for (const input of document.querySelectorAll(".filters [type=datetime-local]")) input.value = "";
});
function openTarget() {
  const step = $(location.hash.slice(1));
  if (step?.matches("details")) step.open = true;
}

addEventListener("hashchange", openTarget);
openTarget();
showTheme();
countDown();
setInterval(countDown, 1000);
listen();
