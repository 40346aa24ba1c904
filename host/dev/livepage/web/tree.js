// Shows a JSON value as a tree.
import { element } from './elements.js';

const shown = 100; // Items of a list that are shown at first.

export function tree(value, open = true) {
  if (value === null || typeof value !== 'object') return element('span', { class: typeof value }, JSON.stringify(value));
  const entries = Object.entries(value);
  const size = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (!entries.length) return element('span', {}, Array.isArray(value) ? '[]' : '{}');
  const item = ([key, part]) => element('li', {}, element('span', { class: 'key' }, `${key}: `), tree(part, false));
  const list = element('ul', {}, ...entries.slice(0, shown).map(item));
  if (entries.length > shown) {
    list.append(element('li', {}, element('button', {
      type: 'button', onclick: (event) => event.target.parentElement.replaceWith(...entries.slice(shown).map(item)),
    }, `Show ${entries.length - shown} more`)));
  }
  return element('details', { open }, element('summary', {}, size), list);
}
