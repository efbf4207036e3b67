// A poller with a keep-alive agent that looks at the status code and never consumes the body:
// the socket is paused with unread data when the server closes. Each line on standard input is
// a round; says `DONE` after each.
//
// argv: URL, requests in a round
'use strict';

const http = require('http');
const readline = require('readline');

const [, , url, requests] = process.argv;
// It probes its connections after a second unless told otherwise. Where the host's TIME_WAIT sockets are at
// `tcp_max_tw_buckets`, the server's end is gone by then, and the probe is answered with a reset.
const agent = new http.Agent({ keepAlive: true, keepAliveMsecs: 600_000, maxSockets: 1000 });
const kept = [];

function checkStatus(done) {
  const request = http.get(url, { agent }, (response) => {
    // BUG: no response.resume().
    kept.push(response);
    done(response.statusCode);
  });
  request.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
}

function pollAll(left) {
  if (left === 0) {
    console.log('DONE');
    return;
  }
  checkStatus(() => pollAll(left - 1));
}

readline.createInterface({ input: process.stdin }).on('line', () => pollAll(Number(requests)));
console.log('READY');
