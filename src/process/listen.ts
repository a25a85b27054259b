import type { Server } from 'node:net';

export interface ListenAddress {
  readonly host: string;
  /** 0: any that is free */
  readonly port: number;
  /** where an operator sets them */
  readonly variables: { readonly host: string; readonly port: string };
}

const LAST_PORT = 65_535;

/** @returns the port. @throws Error that names the variables, with the `code` of its cause */
export function listen(server: Server, { host, port, variables }: ListenAddress): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const place = `${variables.host} ${host}, ${variables.port} ${port}`;
      const other = port < LAST_PORT ? port + 1 : port - 1;
      const advice = cause.code === 'EADDRINUSE' ? `; try ${variables.port}=${other}` : '';
      const error = new Error(`cannot listen on ${place}: ${cause.message}${advice}`, { cause });
      reject(Object.assign(error, { code: cause.code }));
    };
    server.once('error', refuse);
    server.listen(port, host, () => {
      server.off('error', refuse);
      resolve((server.address() as { port: number }).port);
    });
  });
}
