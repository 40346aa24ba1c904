// This script is added to each HTML page: it reloads the page when a file changes, and shows the error that ended it.
import { element, errorOf } from './elements.js';

new EventSource('/.liveapi/changes').addEventListener('change', () => location.reload());

async function show() {
  const id = new URL(import.meta.url).searchParams.get('run');
  const response = await fetch(`/.liveapi/runs/${id}`);
  if (!response.ok) return; // The run is no longer in the list.
  const errors = (await response.json()).errors.filter((error) => error.kind === 'fatal');
  if (errors.length > 0) overlay(errors, id);
}

// overlay shows the errors over the page. Its styles do not mix with those of the page.
async function overlay(errors, id) {
  const host = element('liveapi-error');
  const root = host.attachShadow({ mode: 'open' });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(await (await fetch('/.liveapi/errors.css')).text());
  root.adoptedStyleSheets = [sheet];
  const before = document.activeElement;
  const close = () => {
    removeEventListener('keydown', escape, true);
    host.remove();
    if (before instanceof HTMLElement) before.focus();
  };
  const escape = (event) => { if (event.key === 'Escape') close(); };
  const button = element('button', { type: 'button', onclick: close }, 'Close');
  root.append(element('div', { class: 'overlay', role: 'dialog', 'aria-modal': 'true', 'aria-label': 'The page ended with an error' },
    element('div', { class: 'panel' },
      element('div', { class: 'head' }, element('h2', {}, 'The page ended with an error'), button),
      ...errors.map(errorOf),
      element('p', { class: 'more' }, element('a', { href: `/.liveapi/#run-${id}` }, 'The calls of this run'), '. Save the file, and the page is loaded again.'))));
  addEventListener('keydown', escape, true);
  document.documentElement.append(host);
  button.focus();
}

show();
