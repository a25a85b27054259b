// A proxy to PostgreSQL whose connections can be cut as a pulled cable cuts them: nothing passes
// any more, and neither end is told.

import { connect, createServer, type Socket } from 'node:net';

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

export async function startProxy(connectionString: string): Promise<CuttableProxy> {
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

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const near = new URL(connectionString);
  near.hostname = '127.0.0.1';
  near.port = String((server.address() as { port: number }).port);
  return {
    connectionString: near.href,
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
