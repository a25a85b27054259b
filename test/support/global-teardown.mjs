import { rm } from 'node:fs/promises';

export default async function stopTestPostgres() {
  const running = globalThis.lanyardTestPostgres;
  if (running === undefined) return;
  globalThis.lanyardTestPostgres = undefined;
  await running.postgres.stop();
  await rm(running.dir, { recursive: true, force: true });
}
