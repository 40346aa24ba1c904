// Shows JSON as a tree with levels that can be closed.
import { element } from './page.js';

const most = 500; // Entries shown of one level. More would make the page slow.

// exact parses JSON and keeps the text of its numbers, if the browser supports that.
export function exact(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (key, value, { source }) => (typeof value === 'number' ? JSON.rawJSON(source) : value));
}

export function tree(value, key) {
  const label = key === undefined ? [] : [element('span', { class: 'key' }, String(key)), ': '];
  if (value === null || typeof value !== 'object' || (JSON.isRawJSON && JSON.isRawJSON(value))) {
    return element('div', {}, ...label, element('span', { class: 'text' }, JSON.stringify(value)));
  }
  const entries = Object.entries(value);
  const size = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (!entries.length) return element('div', {}, ...label, Array.isArray(value) ? '[]' : '{}');
  const inside = element('div', { class: 'inside' });
  const details = element('details', { open: key === undefined || entries.length <= 30 }, element('summary', {}, ...label, size), inside);
  const fill = () => {
    if (inside.childNodes.length || !details.open) return;
    inside.append(...entries.slice(0, most).map(([name, item]) => tree(item, name)));
    if (entries.length > most) inside.append(element('div', { class: 'muted' }, `and ${entries.length - most} more, in the raw JSON`));
  };
  details.addEventListener('toggle', fill);
  fill();
  return details;
}
