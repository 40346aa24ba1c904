// The list of functions: search, the arrow keys, and one stop for the tab key.
import { byId, element } from './page.js';

let functions = [];
let choose = () => {};
let isChosen = () => false;

const api = () => Number(document.querySelector('input[name=api]:checked').value);
const buttons = () => [...byId('functions').querySelectorAll('button')];

// showFunctions shows all functions. chosen reports whether a function is the chosen one, and onChoose is called with
// the function that the user chooses.
export function showFunctions(all, chosen, onChoose) {
  functions = all;
  choose = onChoose;
  isChosen = chosen;
  list();
}

export function setAPI(version) {
  const radio = document.querySelector(`input[name=api][value="${version}"]`);
  if (radio) radio.checked = true;
  list();
}

function matching() {
  const words = byId('search').value.toLowerCase().split(/[\s:]+/).filter(Boolean);
  return functions.filter((fn) => fn.api === api() && words.every((word) => `${fn.module} ${fn.name} ${fn.help}`.toLowerCase().includes(word)));
}

// list shows the functions that match the search.
export function list() {
  const found = matching();
  byId('found').textContent = found.length === 1 ? 'One function. Enter opens it.' : `${found.length} functions.`;
  const parts = [];
  for (const module of [...new Set(found.map((fn) => fn.module))]) {
    const items = found.filter((fn) => fn.module === module).map((fn) => element('li', {},
      element('button', { type: 'button', tabindex: '-1', title: fn.help, 'aria-current': isChosen(fn) ? 'true' : false, onclick: () => choose(fn) }, fn.name)));
    parts.push(element('h3', {}, module), element('ul', {}, ...items));
  }
  byId('functions').replaceChildren(...parts);
  const stop = byId('functions').querySelector('[aria-current=true]') || buttons()[0];
  if (stop) stop.tabIndex = 0;
  if (stop && stop.getAttribute('aria-current') === 'true') {
    const box = byId('functions');
    // Only the list is moved, not the page.
    const [outer, inner] = [box.getBoundingClientRect(), stop.getBoundingClientRect()];
    if (inner.top < outer.top || inner.bottom > outer.bottom) box.scrollTop += inner.top - outer.top - box.clientHeight / 2;
  }
}

function move(from, step) {
  const all = buttons();
  const at = all.indexOf(from);
  const to = step === 'first' ? all[0] : step === 'last' ? all[all.length - 1] : all[at + step];
  if (!to) return;
  for (const button of all) button.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

const steps = { ArrowDown: 1, ArrowUp: -1, Home: 'first', End: 'last' };

byId('functions').addEventListener('keydown', (event) => {
  if (!(event.key in steps) || event.target.tagName !== 'BUTTON') return;
  event.preventDefault();
  if (event.key === 'ArrowUp' && buttons()[0] === event.target) byId('search').focus();
  else move(event.target, steps[event.key]);
});
byId('search').addEventListener('keydown', (event) => {
  if (event.key === 'ArrowDown') {
    event.preventDefault();
    const stop = byId('functions').querySelector('button[tabindex="0"]');
    if (stop) stop.focus();
  } else if (event.key === 'Enter') {
    event.preventDefault();
    const found = matching();
    if (found.length === 1) choose(found[0]);
  }
});
byId('search').addEventListener('input', list);
for (const radio of document.querySelectorAll('input[name=api]')) radio.addEventListener('change', list);
