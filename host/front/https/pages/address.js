// The address of a call: the part of the page's address after #, such as #shell/uapi/Email/list_pops?domain=example.com.
// It has the function and its arguments, but no secret.
import { isSecret } from './snippets.js';

const apis = { 2: 'api2', 3: 'uapi' };

// addressOf returns the address of a call.
export function addressOf(fn, args) {
  const shown = args.filter(([name]) => !isSecret(fn, name)).map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  return `#shell/${apis[fn.api]}/${fn.module}/${fn.name}${shown.length ? `?${shown.join('&')}` : ''}`;
}

// called returns the API, the names and the arguments in an address, or null.
export function called(hash) {
  const [path, query = ''] = hash.replace(/^#/, '').split(/\?(.*)/s);
  const [view, api, module, name] = path.split('/');
  const version = Object.keys(apis).find((key) => apis[key] === api);
  if (view !== 'shell' || !version || !name) return null;
  return { api: Number(version), module, name, args: [...new URLSearchParams(query.replace(/\+/g, '%2B'))] };
}

// The address to open after a sign-in, for this tab.
const key = 'after-sign-in';
export const keepAddress = (hash) => { if (hash.startsWith('#shell')) sessionStorage.setItem(key, hash); };
export const takeAddress = () => {
  const hash = sessionStorage.getItem(key);
  sessionStorage.removeItem(key);
  return hash;
};
