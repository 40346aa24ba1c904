// Shows the pages that ran, their errors and their calls, newest first.
import { element, errorOf } from './elements.js';
import { languages } from './code.js';
import { tree } from './tree.js';

const byId = (id) => document.getElementById(id);
let known = { version: '', user: '', runs: [] };

const milliseconds = (ns) => `${(ns / 1e6).toFixed(1)} ms`;
const nameOf = (call) => (call.func ? `${call.module}::${call.func}` : call.module);
const matches = (run, call, words) => {
  const text = `${run.method} ${run.path} ${call.api} ${nameOf(call)} ${JSON.stringify(call.args)} ${call.result}`.toLowerCase();
  return words.every((word) => text.includes(word));
};

// views shows value as a tree and as text, with buttons to choose.
function views(title, value) {
  const asTree = element('div', { class: 'tree' }, tree(value));
  const asText = element('pre', { class: 'raw', hidden: true, tabindex: '0' }, JSON.stringify(value, null, 2));
  const buttons = [['Tree', asTree, asText], ['Raw', asText, asTree]].map(([name, shown, other]) => element('button', {
    type: 'button', 'aria-pressed': String(name === 'Tree'),
    onclick: (event) => {
      shown.hidden = false;
      other.hidden = true;
      for (const b of event.target.parentElement.children) b.setAttribute('aria-pressed', String(b === event.target));
    },
  }, name));
  return [element('h3', {}, title), element('div', { class: 'buttons', role: 'group', 'aria-label': `${title} as` }, ...buttons), asTree, asText];
}

// copy shows code below the buttons, and copies it.
async function copy(buttons, text) {
  const code = element('pre', { class: 'raw', tabindex: '0' }, text);
  let said = 'Copied.';
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    said = 'The browser does not let this page copy: select the code.';
  }
  buttons.parentElement.querySelector('.code')?.remove();
  buttons.after(element('div', { class: 'code', role: 'status' }, element('p', {}, said), code));
}

const sure = (question) => {
  byId('sure-text').textContent = question;
  byId('sure').returnValue = 'no';
  byId('sure').showModal();
  return new Promise((resolve) => { byId('sure').addEventListener('close', () => resolve(byId('sure').returnValue === 'yes'), { once: true }); });
};

async function replay(run, number, call) {
  if (!(await sure(`Repeat ${nameOf(call)} with the same arguments, as ${known.user}? If it changes something, the change is made again.`))) return;
  const response = await fetch(`runs/${run.id}/calls/${number}/replay`, { method: 'POST' });
  if (!response.ok) {
    byId('state').textContent = await response.text();
    return;
  }
  const made = await response.json();
  await refresh();
  location.hash = `run-${made.id}`;
  byId(`run-${made.id}`)?.querySelector('summary')?.focus();
}

function showCall(run, call, number) {
  const body = element('div');
  const details = element('details', { class: call.ok ? 'call' : 'call failed' },
    element('summary', {},
      element('span', { class: 'name' }, nameOf(call)), ` ${call.api} · `,
      element('span', { class: 'result' }, (call.ok ? '' : 'failed: ') + call.result), ` · ${milliseconds(call.took_ns)} `,
      ...(call.mocked ? [element('span', { class: 'mocked' }, 'mocked')] : [])),
    body);
  // The contents are made when they are opened: a list may be long.
  details.addEventListener('toggle', () => {
    if (!details.open || body.firstChild) return;
    body.append(...views('Arguments', call.args), ...views('Answer', call.answer));
    if (!call.func) return;
    body.append(element('div', { class: 'buttons' },
      element('button', { type: 'button', onclick: () => replay(run, number, call) }, 'Repeat the call'),
      ...Object.entries(languages).filter(([, write]) => write(call, known.user)).map(([name, write]) => element('button', {
        type: 'button', onclick: (event) => copy(event.target.parentElement, write(call, known.user)),
      }, `Copy as ${name}`))));
  });
  return details;
}

function showRun(run, words, onlyFailed) {
  const calls = run.calls.map((call, number) => [call, number])
    .filter(([call]) => matches(run, call, words) && (!onlyFailed || !call.ok));
  const fatal = run.errors.some((error) => error.kind === 'fatal');
  const bad = fatal || run.status >= 400 || run.calls.some((call) => !call.ok);
  const errors = run.errors.filter((error) => words.every((word) => `${run.path} ${error.message} ${error.file}`.toLowerCase().includes(word)));
  if (words.length && !calls.length && !errors.length && !words.every((word) => `${run.method} ${run.path}`.toLowerCase().includes(word))) return null;
  if (onlyFailed && !bad) return null;
  const path = run.method === 'POST' ? run.path : element('a', { href: run.path }, run.path);
  return element('section', { class: bad ? 'run bad' : 'run', id: `run-${run.id}` },
    element('h2', {}, `${run.method} `, path),
    element('p', { class: 'facts' }, `${new Date(run.time).toLocaleTimeString()} · status ${run.status} · ${milliseconds(run.took_ns)} · `
      + `${run.calls.length === 1 ? 'one call' : `${run.calls.length} calls`}`),
    ...errors.map(errorOf),
    ...calls.map(([call, number]) => showCall(run, call, number)));
}

function show() {
  const words = byId('words').value.toLowerCase().split(/\s+/).filter(Boolean);
  const onlyFailed = byId('only-failed').checked;
  const shown = known.runs.map((run) => showRun(run, words, onlyFailed)).filter(Boolean);
  byId('runs').replaceChildren(...shown);
  let state = '';
  if (!known.runs.length) state = 'No page has run yet. Open one, and its calls appear here.';
  else if (!shown.length) state = 'No run matches the filter.';
  byId('state').replaceChildren(state, ...(known.runs.length ? [] : [' ', element('a', { href: '/' }, 'Open your pages')]));
}

// refresh reads the list, and shows it if it has changed. Open calls stay open.
async function refresh() {
  const response = await fetch(`runs.json?version=${known.version}`);
  if (response.status === 204) return;
  known = await response.json();
  const opened = new Set([...document.querySelectorAll('details.call[open]')].map(keyOf));
  show();
  for (const details of document.querySelectorAll('details.call')) details.open = opened.has(keyOf(details));
}

const keyOf = (details) => {
  const section = details.closest('section');
  return `${section.id}/${[...section.querySelectorAll('details.call')].indexOf(details)}`;
};

async function watch() {
  try {
    await refresh();
  } catch {
    byId('state').textContent = 'liveapi dev does not answer. Start it again: this page finds it by itself.';
    known.version = '';
  }
  setTimeout(watch, 1000);
}

byId('words').addEventListener('input', show);
byId('only-failed').addEventListener('change', show);
byId('filters').addEventListener('submit', (event) => event.preventDefault());
byId('clear').addEventListener('click', async () => {
  await fetch('clear', { method: 'POST' });
  await refresh();
});
watch().then(() => { if (location.hash) byId(location.hash.slice(1))?.scrollIntoView(); });
