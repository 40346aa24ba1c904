// The pages after the sign-in. Data from a server or a user is inserted as text, never as HTML.
import { takeAddress } from './address.js';
import { alertText, byId, getJSON, state } from './page.js';
import { openDashboard } from './dashboard.js';
import { openShell } from './shell.js';

const views = { dashboard: openDashboard, shell: openShell };

function show() {
  const wanted = location.hash.slice(1).split(/[/?]/)[0];
  const view = wanted in views ? wanted : 'dashboard';
  for (const name of Object.keys(views)) byId(name).hidden = name !== view;
  for (const link of document.querySelectorAll('nav a[data-view]')) {
    if (link.dataset.view === view) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  alertText('');
  views[view]().catch((error) => alertText(error.message, error.signIn));
}

async function start() {
  sessionStorage.setItem('cpsess', location.pathname.split('/')[1]); // See resume.js.
  state.me = await getJSON('me.json');
  if (state.me.service === 'whm') {
    const choice = byId('account');
    for (const name of state.me.accounts || []) choice.append(new Option(name, name));
    state.account = choice.value;
    byId('account-label').hidden = false;
    choice.addEventListener('change', () => {
      state.account = choice.value;
      show();
    });
  }
  const kept = takeAddress();
  if (kept && !location.hash) window.history.replaceState(null, '', kept);
  addEventListener('hashchange', show);
  // A sign-out forgets the calls of this tab.
  document.querySelector('form.leave').addEventListener('submit', () => {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith('calls ')) sessionStorage.removeItem(key);
  });
  show();
}

start().catch((error) => alertText(error.message, error.signIn));
