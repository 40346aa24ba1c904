// Lists the account's mailboxes, or the signed-in mailbox: quotas as bars, and changing passwords.
import { byId, call, dataOf, element, state } from './page.js';

const list = { api: 3, module: 'Email', name: 'list_pops_with_disk' };
const change = { api: 3, module: 'Email', name: 'passwd_pop' };
const strength = { api: 2, module: 'PasswdStrength', name: 'get_password_strength' };
const required = { api: 3, module: 'PasswdStrength', name: 'get_required_strength' };

let box = '';
let least = 0;
let asked = 0; // Number of the latest request for a strength. Answers to earlier requests are ignored.

export async function openDashboard() {
  const boxes = byId('boxes');
  boxes.replaceChildren();
  if (state.me.service === 'webmail') {
    boxes.append(card({ email: state.me.user }));
    return;
  }
  byId('boxes-note').textContent = 'Looking...';
  const answer = await call(list, [['api.sort', '1'], ['api.sort_column', 'email']]);
  if (answer.failure) throw new Error(answer.failure);
  const records = dataOf(answer.json).filter((record) => record.email.includes('@'));
  byId('boxes-note').textContent = records.length === 1 ? 'One mailbox.' : `${records.length} mailboxes.`;
  boxes.replaceChildren(...records.map(card));
}

// quota returns the elements that show a mailbox's quota.
function quota(record) {
  if (record._diskused === undefined) return [];
  const used = Number(record._diskused);
  const most = Number(record._diskquota);
  const size = (n) => (n < 1024 * 1024 ? `${Math.ceil(n / 1024)} KiB` : `${(n / 1024 / 1024).toFixed(1)} MiB`);
  if (!most) return [element('p', { class: 'muted' }, `${size(used)} used, no quota.`)];
  const percent = Math.round((used / most) * 100);
  return [
    element('meter', { min: 0, max: most, high: most * 0.8, low: most * 0.79, optimum: 0, value: Math.min(used, most), 'aria-label': `Quota of ${record.email}` }),
    element('p', { class: 'muted' }, `${size(used)} of ${size(most)} used (${percent} %).`),
  ];
}

function card(record) {
  const flags = [];
  if (record.suspended_login === 1) flags.push(element('span', { class: 'badge warn' }, 'login suspended'));
  if (record.suspended_incoming === 1) flags.push(element('span', { class: 'badge warn' }, 'gets no mail'));
  return element('li', { class: 'card' },
    element('h2', {}, record.email), ...flags, ...quota(record),
    element('button', { type: 'button', 'aria-label': `Change the password of ${record.email}`, onclick: () => openPassword(record.email) }, 'Change the password'));
}

async function openPassword(email) {
  box = email;
  byId('password-form').reset();
  byId('new').type = 'password';
  byId('password-box').textContent = email;
  byId('password-error').hidden = true;
  byId('current-field').hidden = state.me.service !== 'webmail';
  byId('current').required = state.me.service === 'webmail';
  rate(0, 'Type a password to see its strength.');
  byId('password').showModal();
  (state.me.service === 'webmail' ? byId('current') : byId('new')).focus();
  const answer = await call(required, [['app', 'pop']]);
  if (!answer.failure) least = dataOf(answer.json).strength;
}

function rate(value, text) {
  byId('strength').value = value;
  byId('strength-text').textContent = text;
}

let wait;
byId('new').addEventListener('input', () => {
  clearTimeout(wait);
  const password = byId('new').value;
  asked += 1;
  const mine = asked;
  if (!password) {
    rate(0, 'Type a password to see its strength.');
    return;
  }
  wait = setTimeout(async () => {
    const answer = await call(strength, [['password', password]]).catch(() => null);
    if (mine !== asked || !answer || answer.failure) return;
    const value = Number(dataOf(answer.json)[0].strength);
    rate(value, value >= least ? `Strength ${value} of 100: good enough.` : `Strength ${value} of 100; at least ${least} is needed.`);
  }, 200);
});

byId('show').addEventListener('change', () => {
  byId('new').type = byId('show').checked ? 'text' : 'password';
});

byId('password-cancel').addEventListener('click', () => byId('password').close());

byId('password-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const args = [['email', box], ['password', byId('new').value]];
  if (state.me.service === 'webmail') args.push(['current_password', byId('current').value]);
  const error = byId('password-error');
  error.hidden = true;
  const answer = await call(change, args).catch((problem) => ({ failure: problem.message }));
  if (answer.failure) {
    error.textContent = answer.failure;
    error.hidden = false;
    return;
  }
  byId('password').close();
  byId('password-form').reset();
  byId('boxes-note').textContent = `The password of ${box} is changed.`;
});
