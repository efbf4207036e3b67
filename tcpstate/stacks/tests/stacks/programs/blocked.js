"use strict";
const turns = new Int32Array(new SharedArrayBuffer(4));

function takeTurn(timeout) {
  return Atomics.wait(turns, 0, 0, timeout) + "!";
}

function session(timeout) {
  return takeTurn(timeout) + "!";
}

function serve() {
  return session(120000) + "!";
}

serve();
