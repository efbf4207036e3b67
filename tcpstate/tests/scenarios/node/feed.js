// A feed that answers each line and goes on when its subscriber has ended its side: the sockets
// are half-open, and nothing listens for their end.
'use strict';

const net = require('net');

const subscribers = new Set();

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  subscribers.add(socket);
  socket.on('data', (line) => socket.write(line));
  // BUG: no socket.on('end', …) that takes it out of the set and ends it.
});

server.listen(0, '127.0.0.1', () => console.log(`PORT ${server.address().port}`));
