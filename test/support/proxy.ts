// A proxy to PostgreSQL whose connections can be cut as a pulled cable cuts them: nothing passes
// any more, and neither end is told.

import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

export interface CuttableProxy {
  readonly connectionString: string;
  /**
   * From now on nothing passes, on no connection, neither data nor the end; new connections are
   * accepted and stay silent.
   */
  cut(): void;
  /** New connections work again; the ones that were cut stay dead. */
  mend(): void;
  /** Closes the connections that were cut, at both ends, as keep-alive of TCP does in the end. */
  closeCut(): void;
  /** New connections lead to that host and port. */
  aim(connectionString: string): void;
  /** connections so far */
  accepted(): number;
  stop(): Promise<void>;
}

/** @param folder where it listens at a socket of the file system, as PostgreSQL does; undefined: at a port */
export async function startProxy(connectionString: string, folder?: string): Promise<CuttableProxy> {
  let target = new URL(connectionString);
  const sockets = new Set<Socket>();
  let dead: Socket[] = [];
  let isCut = false;
  let accepted = 0;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (near) => {
    accepted++;
    hold(near);
    if (isCut) return;
    const far = hold(connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true }));
    near.pipe(far);
    far.pipe(near);
    near.resume();
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.once('close', () => other.destroy());
    }
  });

  function hold(socket: Socket): Socket {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    return socket;
  }

  const atFile = folder && { path: join(folder, '.s.PGSQL.5433'), readableAll: true, writableAll: true };
  const place = atFile || { port: 0, host: '127.0.0.1' };
  await new Promise<void>((resolve) => server.listen(place, resolve));
  return {
    connectionString: folder === undefined ? atPort(server, connectionString) : atSocket(folder, connectionString),
    cut() {
      isCut = true;
      dead = [...sockets];
      for (const socket of dead) socket.unpipe().pause();
    },
    mend() {
      isCut = false;
    },
    closeCut() {
      for (const socket of dead) socket.destroy();
      dead = [];
    },
    aim(other) {
      target = new URL(other);
    },
    accepted: () => accepted,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function atPort(server: Server, connectionString: string): string {
  const near = new URL(connectionString);
  near.hostname = '127.0.0.1';
  near.port = String((server.address() as { port: number }).port);
  return near.href;
}

/** As libpq has it: no host in the authority, and a folder as the parameter. */
function atSocket(folder: string, connectionString: string): string {
  const { username, password, pathname } = new URL(connectionString);
  return `postgres://${username}:${password}@${pathname}?host=${folder}&port=5433`;
}
