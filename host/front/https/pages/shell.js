// The API Shell: choose a function, fill in its form, run it, read the answer, copy the call. Its elements
// are in app.html.
import { addressOf, called } from './address.js';
import { clearAnswer, showAnswer } from './answer.js';
import { list, setAPI, showFunctions } from './chooser.js';
import { alertText, byId, call, element, getJSON, state } from './page.js';
import { isSecret, languages, masked } from './snippets.js';

let functions = null;
let described = '';
let chosen = null;
let ran = null; // The arguments of the last run, masked, until the form changes: the form no longer has its secrets.
let language = 'PHP';
let history = [];

const same = (a, b) => Boolean(a && b && a.api === b.api && a.module === b.module && a.name === b.name);

// The history is kept for the tab, without secrets.
const historyKey = () => `calls ${state.me.service} ${state.me.user}`;
const longest = 50;

export async function openShell() {
  if (!functions || described !== state.account) {
    const answer = await getJSON(`functions.json${state.account ? `?user=${encodeURIComponent(state.account)}` : ''}`);
    functions = answer.functions;
    described = state.account;
    byId('missing').hidden = !answer.missing;
    byId('missing').textContent = answer.missing ? `Missing, because it can't be started at the moment: ${answer.missing.join('; ')}.` : '';
    showFunctions(functions, (fn) => same(fn, chosen), choose);
    try {
      history = JSON.parse(sessionStorage.getItem(historyKey())) || [];
    } catch {
      history = [];
    }
    showHistory();
  }
  openAddress();
}

// openAddress opens the call that the page's address names.
function openAddress() {
  const wanted = called(location.hash);
  if (!wanted || (chosen && same(wanted, chosen) && location.hash === addressOf(chosen, given()))) return;
  const fn = functions.find((f) => same(f, wanted));
  if (!fn) {
    alertText(`There is no function ${wanted.module}::${wanted.name}, or you may not call it.`);
    return;
  }
  setAPI(fn.api);
  choose(fn, wanted.args, false);
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


// choose shows the form of a function. values are its arguments.
function choose(fn, values = [], focus = true) {
  chosen = fn;
  ran = null;
  list();
  byId('start').hidden = true;
  byId('call').reset();
  byId('fn-name').textContent = `${fn.module}::${fn.name}`;
  byId('fn-help').textContent = fn.help;
  byId('fn-returns').hidden = !fn.returns && fn.example === undefined;
  byId('fn-returns-text').textContent = fn.returns;
  byId('fn-shape').hidden = fn.example === undefined;
  byId('fn-shape').textContent = fn.example === undefined ? '' : shape(fn.example);
  byId('fn-example').hidden = fn.example === undefined;
  byId('fn-example').textContent = fn.example === undefined ? '' : JSON.stringify(fn.example, null, 2);
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
  clearAnswer();
  copies();
  byId('snippets').hidden = false;
  if (focus) byId('fn-name').focus();
}

// shape describes the form of data in words, such as "a list of records with email (text) and size (number)".
function shape(data) {
  if (Array.isArray(data)) return data.length ? `A list of: ${shape(data[0])}` : 'A list.';
  if (data !== null && typeof data === 'object') {
    return `A record with ${Object.entries(data).map(([name, value]) => `${name} (${kind(value)})`).join(', ')}.`;
  }
  return `${kind(data)}.`.replace(/^./, (c) => c.toUpperCase());
}

const kind = (value) => {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'list';
  return { string: 'text', number: 'number', boolean: 'flag', object: 'record' }[typeof value];
};

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

// copies shows the call as code, and puts its address into the page's address.
function copies() {
  const args = ran || masked(chosen, given());
  byId('snippet-tabs').replaceChildren(...Object.keys(languages).map((name) => element('button', {
    type: 'button', 'aria-pressed': String(name === language), onclick: () => { language = name; copies(); byId('snippet-tabs').querySelector('[aria-pressed=true]').focus(); },
  }, name)));
  const who = {
    user: state.account || state.me.user, signedIn: state.me.user, service: state.me.service, origin: location.origin,
    cpsess: location.pathname.split('/')[1], config: state.me.config, selfSigned: state.me.self_signed,
  };
  byId('snippet').textContent = languages[language](chosen, args, who);
  byId('copied').textContent = '';
  // The browser's own history gets one entry for each function, not one for each letter.
  const address = addressOf(chosen, given());
  if (same(called(location.hash), chosen)) window.history.replaceState(null, '', address);
  else window.history.pushState(null, '', address);
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
  clearAnswer();
  try {
    const answer = await call(fn, args);
    verdict.className = answer.failure ? 'alert bad' : 'good';
    verdict.textContent = `${answer.failure ? `Failed: ${answer.failure}` : 'Done.'} It took ${answer.took.toFixed(0)} ms.`;
    showAnswer(fn, answer.text);
    remember(fn, args, answer);
  } catch (error) {
    verdict.className = 'alert bad';
    verdict.replaceChildren(error.message, ...(error.signIn ? [' ', element('a', { href: '/login' }, 'Sign in')] : []));
  } finally {
    button.disabled = false;
    // Clear secrets from the form as soon as their call ends. The code below keeps their placeholders.
    ran = masked(fn, args);
    for (const input of byId('params').querySelectorAll('input[type=password]')) input.value = '';
    const more = byId('more');
    if (more) more.value = more.value.split('\n').filter((line) => !isSecret(fn, line.split('=')[0].trim())).join('\n');
    copies();
  }
}

function remember(fn, args, answer) {
  history.unshift({
    api: fn.api, module: fn.module, name: fn.name, args: args.filter(([name]) => !isSecret(fn, name)), shown: masked(fn, args),
    failed: Boolean(answer.failure), at: new Date().toLocaleTimeString(),
  });
  history.length = Math.min(history.length, longest);
  keepHistory();
}

function keepHistory() {
  try {
    sessionStorage.setItem(historyKey(), JSON.stringify(history));
  } catch {
    sessionStorage.removeItem(historyKey()); // Too long for the browser: the page still has it.
  }
  showHistory();
}

function showHistory() {
  byId('history').hidden = !history.length;
  byId('calls').replaceChildren(...history.map((entry) => element('li', {}, element('button', {
    type: 'button',
    onclick: () => {
      const fn = functions.find((f) => same(f, entry));
      if (!fn) {
        alertText(`There is no function ${entry.module}::${entry.name} any more.`);
        return;
      }
      setAPI(fn.api);
      choose(fn, entry.args);
    },
  }, `${entry.at} ${entry.module}::${entry.name} ${entry.shown.map(([n, v]) => `${n}=${v}`).join(' ')}${entry.failed ? ' (failed)' : ''}`))));
}

byId('call').addEventListener('submit', (event) => { event.preventDefault(); run(); });
byId('call').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    byId('call').requestSubmit();
  }
});
byId('call').addEventListener('input', () => { ran = null; copies(); });
byId('forget').addEventListener('click', () => { history = []; keepHistory(); byId('search').focus(); });
byId('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(byId('snippet').textContent);
    byId('copied').textContent = 'Copied.';
  } catch {
    getSelection().selectAllChildren(byId('snippet'));
    byId('copied').textContent = 'Selected: copy it with your keyboard.';
  }
});
