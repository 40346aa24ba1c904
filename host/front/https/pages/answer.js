// The answer of a call: as a tree, as a table and as JSON; copied, and saved as a file.
import { byId, dataOf, element } from './page.js';
import { indented } from './indented.js';
import { exact, tree } from './tree.js';

const views = ['tree', 'table', 'raw'];
const most = 500; // Rows of a table that are shown. More would make the page slow.
let shown = 'tree';
let current = null;

// showAnswer shows the text of an answer to fn.
export function showAnswer(fn, text) {
  current = { name: `${fn.module}-${fn.name}.json`, text: indented(text) };
  const json = exact(text);
  byId('tree').replaceChildren(tree(json));
  byId('raw').textContent = current.text;
  const records = recordsOf(dataOf(json));
  byId('as-table').hidden = !records;
  if (records) byId('table').replaceChildren(table(records));
  else byId('table').replaceChildren();
  byId('answer-tools').hidden = false;
  show(shown === 'table' && !records ? 'tree' : shown, false);
}

export function clearAnswer() {
  current = null;
  for (const view of views) byId(view).replaceChildren();
  byId('answer-tools').hidden = true;
  byId('answer-copied').textContent = '';
}

const isRecord = (value) => value !== null && typeof value === 'object' && !Array.isArray(value) && !(JSON.isRawJSON && JSON.isRawJSON(value));

// recordsOf returns data if it is a list of records.
const recordsOf = (data) => (Array.isArray(data) && data.length && data.every(isRecord) ? data : null);

const cell = (value) => {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
};

function table(records) {
  const columns = [...new Set(records.slice(0, most).flatMap((record) => Object.keys(record)))];
  const head = element('tr', {}, ...columns.map((name) => element('th', { scope: 'col' }, name)));
  const rows = records.slice(0, most).map((record) => element('tr', {}, ...columns.map((name) => element('td', {}, cell(record[name])))));
  const caption = records.length > most ? `The first ${most} of ${records.length} records.` : `${records.length === 1 ? 'One record' : `${records.length} records`}.`;
  return element('table', {}, element('caption', {}, caption), element('thead', {}, head), element('tbody', {}, ...rows));
}

function show(view, choice = true) {
  if (choice) shown = view;
  for (const name of views) {
    byId(name).hidden = name !== view;
    byId(`as-${name}`).setAttribute('aria-pressed', String(name === view));
  }
}

for (const view of views) byId(`as-${view}`).addEventListener('click', () => show(view));

byId('answer-copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(current.text);
    byId('answer-copied').textContent = 'Copied.';
  } catch {
    show('raw');
    getSelection().selectAllChildren(byId('raw'));
    byId('answer-copied').textContent = 'Selected: copy it with your keyboard.';
  }
});
byId('answer-save').addEventListener('click', () => {
  const link = element('a', { href: URL.createObjectURL(new Blob([current.text], { type: 'application/json' })), download: current.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
