// Elements for the pages of liveapi dev. Texts of a program or a server are inserted as text, never as HTML.

// element creates an element with attributes and children. Strings become text nodes.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

const place = (file, line) => (file ? `${file}:${line}` : 'an unknown place');

// excerpt shows the lines of a file around the place of an error.
const excerpt = (lines, line) => element('pre', { class: 'excerpt', tabindex: '0' }, ...(lines || []).map((l) => element('span', { class: l.line === line ? 'here' : false },
  element('span', { class: 'number', 'aria-hidden': 'true' }, String(l.line).padStart(5)), ` ${l.text}\n`)));

// errorOf shows an error of a page: its message, its place, the lines around it, and the stack.
export function errorOf(error) {
  const frames = (error.stack || []).filter((frame) => frame.file);
  return element('article', { class: error.kind === 'fatal' ? 'error' : 'error warning' },
    element('p', { class: 'kind' }, error.type),
    element('p', { class: 'message' }, error.message),
    element('p', { class: 'place' }, place(error.file, error.line)),
    ...(error.excerpt ? [excerpt(error.excerpt, error.line)] : []),
    ...(frames.length > 1 ? [element('h3', {}, 'Stack'), element('ol', { class: 'stack' }, ...frames.map((frame) => element('li', {},
      element('details', {}, element('summary', {}, `${frame.function ? `${frame.function} ` : ''}${place(frame.file, frame.line)}`),
        excerpt(frame.excerpt, frame.line)))))] : []));
}
