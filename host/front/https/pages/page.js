// Shared by the pages: elements, requests, and the signed-in user.

import { keepAddress } from './address.js';

export const state = { me: null, account: '' };

export const byId = (id) => document.getElementById(id);

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

// alertText shows a message for the user; '' hides it.
export function alertText(text, signIn = false) {
  byId('alert').replaceChildren(text, ...(signIn ? [' ', element('a', { href: '/login' }, 'Sign in')] : []));
  byId('alert').hidden = !text;
}

// answered parses a response as JSON, or throws an error for the user.
async function answered(response) {
  if (response.status === 401 || response.redirected) {
    keepAddress(location.hash);
    const error = new Error('Your session ended. Sign in again: this call is kept.');
    error.signIn = true;
    throw error;
  }
  const text = await response.text();
  try {
    return { text, json: JSON.parse(text) };
  } catch {
    throw new Error(`The server answers ${response.status}: ${text.slice(0, 200)}`);
  }
}

// reach sends a request, or throws an error for the user if nobody answers.
async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error('The host is not reachable. Check that it runs and that you are connected, and try again.');
  }
}

export async function getJSON(path) {
  return (await answered(await reach(path, { headers: { Accept: 'application/json' } }))).json;
}

// request returns the URL and the body of a call.
export function request(fn, args) {
  const body = new URLSearchParams();
  let path = `execute/${fn.module}/${fn.name}`;
  if (fn.api !== 3 || state.me.service === 'whm') {
    path = 'json-api/cpanel';
    if (state.me.service === 'whm') body.append('cpanel_jsonapi_user', state.account);
    body.append('cpanel_jsonapi_apiversion', fn.api);
    body.append('cpanel_jsonapi_module', fn.module);
    body.append('cpanel_jsonapi_func', fn.name);
  }
  for (const [name, value] of args) body.append(name, value);
  return { path, body };
}

// call runs a call, and returns the answer's text, its JSON and its duration in milliseconds.
export async function call(fn, args) {
  const { path, body } = request(fn, args);
  const start = performance.now();
  const response = await reach(path, { method: 'POST', body, headers: { Accept: 'application/json' } });
  const answer = await answered(response);
  return { ...answer, took: performance.now() - start, failure: failureOf(answer.json) };
}

// failureOf returns the reason why a call failed, or '' if it succeeded.
export function failureOf(json) {
  const uapi = json.result || json;
  if ('status' in uapi && 'errors' in uapi) {
    return uapi.status === 1 ? '' : (uapi.errors || ['It failed.']).join(' ');
  }
  const api2 = json.cpanelresult || {};
  if (api2.error) return api2.error;
  const first = Array.isArray(api2.data) ? api2.data[0] : undefined;
  return first && first.result === 0 ? first.reason || 'It failed.' : '';
}

// dataOf returns the data of an answer.
export const dataOf = (json) => (json.cpanelresult ? json.cpanelresult.data : (json.result || json).data);
