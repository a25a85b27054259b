// CONNECT (RFC 9110 §9.3.6) asks a proxy for a tunnel, which this server is not. Node would cut the connection without a word, so
// that neither the client nor the log knew why; here it passes the prelude like every other request.

import { type Server as HttpServer, ServerResponse } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { Socket } from 'node:net';

export function answerConnect(server: HttpServer | HttpsServer): void {
  server.on('connect', (request, socket) => {
    // Node passes the connection on as it is: from here on nothing else looks after it.
    socket.on('error', () => socket.destroy());
    if (!(socket instanceof Socket)) return;
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.once('finish', () => socket.destroySoon());
    response.assignSocket(socket);
    server.emit('request', request, response);
  });
}
