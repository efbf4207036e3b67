// A client and its test. LEAK=1 brings the bug back: with allowHalfOpen the client has to end its side itself, and does not.
'use strict';
const assert = require('node:assert');
const net = require('node:net');
const test = require('node:test');

const leak = 'LEAK' in process.env;

function fetchAll(port) {
  return new Promise((resolve, reject) => {
    const connection = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let said = '';
    connection.on('data', (data) => { said += data; });
    connection.on('error', reject);
    connection.on('end', () => {
      if (leak) connection.unref(); else connection.end();
      resolve(said);
    });
  });
}

test('fetches', async () => {
  const server = net.createServer((connection) => connection.end('hello', () => connection.destroy()));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  assert.strictEqual(await fetchAll(server.address().port), 'hello');
  server.close();
});
