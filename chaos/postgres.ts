// The PostgreSQL of a run: the embedded programs on a folder of their own, which faults stop and kill.

import { type EmbeddedPostgres, startEmbeddedPostgres } from '../src/database/embedded/embedded-postgres.ts';

/** its name */
export const DATABASE = 'lanyard';

export interface Postgres {
  connectionString(): string;
  /** As its operator stops it; everything is written. */
  stop(): Promise<void>;
  /** kill -9 of the postmaster; its backends notice and end. */
  kill(): Promise<void>;
  /** Again, on the same data, at another port. */
  start(): Promise<void>;
}

export async function startPostgres(dataDir: string): Promise<Postgres> {
  const open = () =>
    startEmbeddedPostgres({
      dataDir,
      databaseName: DATABASE,
      // Processes are killed, the machine is not: what was written need not reach the disk.
      settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300' },
      log: () => {},
    });
  let running: EmbeddedPostgres = await open();
  return {
    connectionString: () => running.connectionString,
    stop: () => running.stop(),
    async kill() {
      process.kill(running.pid, 'SIGKILL');
      await running.exited;
      // Frees the lock of the folder.
      await running.stop();
    },
    async start() {
      running = await open();
    },
  };
}
