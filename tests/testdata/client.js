// A LiveAPI client as plugins have it: lengths in UTF-16 units, no newlines in the action,
// numbers for versions, answers found in the whole buffer.
'use strict';
const assert = require('assert');
const net = require('net');

const waiting = [];
let buffer = '';
const socket = net.connect(process.env.CPANEL_CONNECT_SOCKET);
socket.setEncoding('utf8');
socket.on('data', (text) => {
  buffer += text;
  for (let end; (end = buffer.indexOf('</cpanelresult>')) >= 0;) {
    const json = buffer.slice(buffer.indexOf('<cpanelresult>') + 14, end);
    buffer = buffer.slice(end + 15);
    waiting.shift()(JSON.parse(json));
  }
});

const send = (text) => new Promise((resolve) => {
  waiting.push(resolve);
  socket.write(text.length + '\n' + text);
});
const call = (apiversion, module, func, args) =>
  send('<cpanelaction>' + JSON.stringify({ module, reqtype: 'exec', func, apiversion, args }) + '</cpanelaction>');

(async () => {
  assert.deepStrictEqual(await send('<cpaneljson enable="1">'), { data: { result: 'json' } });
  for (const password of ['päß 😀 …', '12345luggage', '日本語のパスワード']) {
    const changed = await call(2, 'Email', 'passwdpop', { domain: 'example.com', email: 'user', password });
    assert.strictEqual(changed.cpanelresult.data[0].result, 1);
    const verified = await call('uapi', 'Email', 'verify_password', { email: 'user@example.com', password });
    assert.strictEqual(verified.result.data, 1);
  }
  const answers = await Promise.all([1, 2, 3].map((n) => call(3, 'Email', 'verify_password', { email: 'user@example.com', password: String(n) })));
  assert.deepStrictEqual(answers.map((a) => a.result.data), [0, 0, 0]);
  assert.deepStrictEqual(await send('<cpanelxml shutdown="1" />'), { data: { result: 'shutdown' } });
  socket.end();
  console.log('ok');
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
