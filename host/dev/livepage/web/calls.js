// Shows the pages that ran and their calls, newest first.
'use strict';

const milliseconds = (ns) => (ns / 1e6).toFixed(1) + ' ms';

const element = (name, text, className) => {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
};

const row = (cell, texts, className) => {
  const tr = element('tr', undefined, className);
  for (const text of texts) tr.append(element(cell, text));
  return tr;
};

const show = (run) => {
  const section = element('section');
  const time = new Date(run.time).toLocaleTimeString();
  section.append(element('h2', `${run.method} ${run.path} · ${run.status} · ${milliseconds(run.took_ns)} · ${time}`));
  if (run.calls.length === 0) {
    section.append(element('p', 'It made no call.'));
    return section;
  }
  const table = element('table');
  table.append(row('th', ['API', 'Function', 'Arguments', 'Result', 'Time']));
  for (const call of run.calls) {
    table.append(row('td', [call.api, call.name, (call.args || []).join(' '), (call.ok ? '' : 'failed: ') + call.result, milliseconds(call.took_ns)],
      call.ok ? '' : 'failed'));
  }
  section.append(table);
  return section;
};

let newest = 0;
const refresh = async () => {
  try {
    const runs = await (await fetch('calls')).json();
    if (runs.length > 0 && runs[0].id !== newest) {
      newest = runs[0].id;
      document.getElementById('none').hidden = true;
      document.getElementById('runs').replaceChildren(...runs.map(show));
    }
  } catch {
    // The server is restarting. The next attempt will reach it.
  }
  setTimeout(refresh, 1000);
};
refresh();
