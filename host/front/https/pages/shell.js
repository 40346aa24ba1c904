// The API Shell: choose a function, fill in its form, run it, read the answer, copy the call. Its elements
// are in app.html.
import { byId, call, element, getJSON, state } from './page.js';
import { indented } from './indented.js';
import { isSecret, languages, masked } from './snippets.js';
import { exact, tree } from './tree.js';

let functions = null;
let described = '';
let chosen = null;
let language = 'PHP';
const history = [];

export async function openShell() {
  if (!functions || described !== state.account) {
    const answer = await getJSON(`functions.json${state.account ? `?user=${encodeURIComponent(state.account)}` : ''}`);
    functions = answer.functions;
    described = state.account;
    byId('missing').hidden = !answer.missing;
    byId('missing').textContent = answer.missing ? `Missing, because it can't be started at the moment: ${answer.missing.join('; ')}.` : '';
    list();
  }
}

const api = () => Number(document.querySelector('input[name=api]:checked').value);

// list shows the functions that match the search.
function list() {
  const words = byId('search').value.toLowerCase().split(/[\s:]+/).filter(Boolean);
  const found = functions.filter((fn) => fn.api === api()
    && words.every((word) => `${fn.module} ${fn.name} ${fn.help}`.toLowerCase().includes(word)));
  byId('found').textContent = found.length === 1 ? 'One function.' : `${found.length} functions.`;
  const parts = [];
  for (const module of [...new Set(found.map((fn) => fn.module))]) {
    const items = found.filter((fn) => fn.module === module).map((fn) => element('li', {},
      element('button', { type: 'button', title: fn.help, 'aria-current': fn === chosen ? 'true' : false, onclick: () => choose(fn) }, fn.name)));
    parts.push(element('h3', {}, module), element('ul', {}, ...items));
  }
  byId('functions').replaceChildren(...parts);
}

function field(p) {
  const id = `p-${p.name}`;
  const common = { id, name: p.name, required: p.required, 'aria-describedby': `${id}-help`, autocomplete: 'off' };
  let input;
  if (p.type === 'flag') {
    input = element('select', common, new Option('not given', ''), new Option('1 (yes)', '1'), new Option('0 (no)', '0'));
  } else if (p.type === 'any') {
    input = element('textarea', { ...common, rows: 2 });
  } else {
    input = element('input', { ...common, type: p.type === 'secret' ? 'password' : 'text', inputmode: p.type === 'integer' ? 'numeric' : false,
      pattern: p.type === 'integer' ? '-?[0-9]+' : false, autocomplete: p.type === 'secret' ? 'new-password' : 'off', spellcheck: 'false', autocapitalize: 'none' });
  }
  const label = element('label', { for: id }, p.name, ' ');
  if (p.required) label.append(element('span', { class: 'star', 'aria-hidden': 'true' }, '*'));
  label.append(' ', element('span', { class: 'muted small' }, p.type));
  return element('div', { class: 'field' }, label, input, element('p', { class: 'help', id: `${id}-help` }, p.help));
}

function choose(fn, values = []) {
  chosen = fn;
  list();
  byId('call').reset();
  byId('fn-name').textContent = `${fn.module}::${fn.name}`;
  byId('fn-help').textContent = fn.returns ? `${fn.help} Returns: ${fn.returns}` : fn.help;
  byId('fn-changes').hidden = !fn.changes;
  const fields = fn.params.map(field);
  if (!fn.params.length) fields.push(element('p', { class: 'muted' }, 'It has no parameters.'));
  if (fn.open) {
    fields.push(element('div', { class: 'field' }, element('label', { for: 'more' }, 'Further parameters'),
      element('textarea', { id: 'more', rows: 3, 'aria-describedby': 'more-help' }), element('p', { class: 'help', id: 'more-help' }, 'name=value, one on each line.')));
  }
  byId('params').replaceChildren(...fields);
  fill(values);
  byId('call').hidden = false;
  byId('answer').hidden = true;
  copies();
  byId('snippets').hidden = false;
  byId('fn-name').focus();
}

// fill writes arguments into the form. It is the inverse of given.
function fill(values) {
  const more = byId('more');
  const columns = [];
  for (const [name, value] of values) {
    const meta = name.startsWith(prefix()) ? name.slice(prefix().length) : '';
    const option = /^(filter|sort|paginate|columns(_\d+)?)$/.test(meta) || document.querySelector(`[data-option="${CSS.escape(meta)}"]`) ? meta : '';
    const input = option ? document.querySelector(`[data-option="${CSS.escape(option)}"]`) : chosen.params.some((p) => p.name === name) && byId(`p-${name}`);
    if (/^columns_\d+$/.test(option)) columns.push(value);
    else if (option === 'columns') continue;
    else if (input && input.type === 'checkbox') input.checked = value === '1';
    else if (input) input.value = value;
    else if (more && !option) more.value += `${more.value && '\n'}${name}=${value}`;
    if (option) byId('options').open = true;
  }
  document.querySelector('[data-option=columns]').value = columns.join(', ');
}

const prefix = () => (chosen.api === 3 ? 'api.' : 'api2_');

// given returns the arguments of the form.
function given() {
  const args = [];
  for (const p of chosen.params) {
    const value = byId(`p-${p.name}`).value;
    if (value !== '') args.push([p.name, value]);
  }
  const more = byId('more');
  for (const line of more ? more.value.split('\n') : []) {
    const at = line.indexOf('=');
    if (at > 0) args.push([line.slice(0, at).trim(), line.slice(at + 1)]);
  }
  return [...args, ...options()];
}

// options returns the parameters for sorting, filtering, pages and columns, with the API's names.
function options() {
  const value = (name) => {
    const input = document.querySelector(`[data-option=${name}]`);
    return input.type === 'checkbox' ? (input.checked ? '1' : '') : input.value.trim();
  };
  const out = [];
  const add = (name, text) => text !== '' && out.push([prefix() + name, text]);
  if (value('filter_column')) ['filter', 'filter_column', 'filter_type', 'filter_term'].forEach((name) => add(name, name === 'filter' ? '1' : value(name)));
  if (value('sort_column')) ['sort', 'sort_column', 'sort_method', 'sort_reverse'].forEach((name) => add(name, name === 'sort' ? '1' : value(name)));
  if (value('paginate_start') || value('paginate_size')) ['paginate', 'paginate_start', 'paginate_size'].forEach((name) => add(name, name === 'paginate' ? '1' : value(name)));
  const columns = value('columns').split(',').map((c) => c.trim()).filter(Boolean);
  if (columns.length) {
    add('columns', '1');
    columns.forEach((name, i) => add(`columns_${i}`, name));
  }
  return out;
}

function copies() {
  byId('snippet-tabs').replaceChildren(...Object.keys(languages).map((name) => element('button', {
    type: 'button', 'aria-pressed': String(name === language), onclick: () => { language = name; copies(); byId('snippet-tabs').querySelector('[aria-pressed=true]').focus(); },
  }, name)));
  const who = {
    user: state.account || state.me.user, signedIn: state.me.user, service: state.me.service, origin: location.origin,
    cpsess: location.pathname.split('/')[1], config: state.me.config, selfSigned: state.me.self_signed,
  };
  byId('snippet').textContent = languages[language](chosen, masked(chosen, given()), who);
  byId('copied').textContent = '';
}

function asked(question) {
  const dialog = byId('confirm');
  byId('confirm-text').textContent = question;
  dialog.returnValue = 'no';
  dialog.showModal();
  byId('confirm-yes').focus();
  return new Promise((resolve) => { dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }); });
}

async function run() {
  const fn = chosen;
  const args = given();
  if (fn.changes && !(await asked(`${fn.module}::${fn.name} ${fn.help.charAt(0).toLowerCase()}${fn.help.slice(1)}`))) return;
  const button = byId('call').querySelector('button[type=submit]');
  button.disabled = true;
  byId('answer').hidden = false;
  const verdict = byId('verdict');
  verdict.className = '';
  verdict.textContent = 'Running...';
  byId('tree').replaceChildren();
  byId('raw').textContent = '';
  try {
    const answer = await call(fn, args);
    verdict.className = answer.failure ? 'alert bad' : 'good';
    verdict.textContent = `${answer.failure ? `Failed: ${answer.failure}` : 'Done.'} It took ${answer.took.toFixed(0)} ms.`;
    byId('tree').replaceChildren(tree(exact(answer.text)));
    byId('raw').textContent = indented(answer.text);
    remember(fn, args, answer);
  } catch (error) {
    verdict.className = 'alert bad';
    verdict.textContent = error.message;
  } finally {
    button.disabled = false;
    // Clear secrets from the form as soon as their call ends.
    for (const input of byId('params').querySelectorAll('input[type=password]')) input.value = '';
    const more = byId('more');
    if (more) more.value = more.value.split('\n').filter((line) => !isSecret(fn, line.split('=')[0].trim())).join('\n');
  }
}

function remember(fn, args, answer) {
  history.unshift({ fn, args: args.filter(([name]) => !isSecret(fn, name)), shown: masked(fn, args), failed: Boolean(answer.failure), at: new Date() });
  history.length = Math.min(history.length, 50);
  showHistory();
}

function showHistory() {
  byId('history').hidden = !history.length;
  byId('calls').replaceChildren(...history.map((entry) => element('li', {}, element('button', {
    type: 'button',
    onclick: () => {
      const radio = document.querySelector(`input[name=api][value="${entry.fn.api}"]`);
      if (radio) radio.checked = true;
      choose(entry.fn, entry.args);
    },
  }, `${entry.at.toLocaleTimeString()} ${entry.fn.module}::${entry.fn.name} ${entry.shown.map(([n, v]) => `${n}=${v}`).join(' ')}${entry.failed ? ' (failed)' : ''}`))));
}

function showAs(raw) {
  byId('raw').hidden = !raw;
  byId('tree').hidden = raw;
  byId('as-raw').setAttribute('aria-pressed', String(raw));
  byId('as-tree').setAttribute('aria-pressed', String(!raw));
}

byId('search').addEventListener('input', list);
for (const radio of document.querySelectorAll('input[name=api]')) radio.addEventListener('change', list);
byId('call').addEventListener('submit', (event) => { event.preventDefault(); run(); });
byId('call').addEventListener('input', copies);
byId('as-tree').addEventListener('click', () => showAs(false));
byId('as-raw').addEventListener('click', () => showAs(true));
byId('forget').addEventListener('click', () => { history.length = 0; showHistory(); byId('search').focus(); });
byId('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(byId('snippet').textContent);
    byId('copied').textContent = 'Copied.';
  } catch {
    getSelection().selectAllChildren(byId('snippet'));
    byId('copied').textContent = 'Selected: copy it with your keyboard.';
  }
});
