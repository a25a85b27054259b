// What is done to the installation, one at a time. Each function ends when the fault has ended: what
// follows is the recovery.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from './installation.ts';
import type { Node } from './node.ts';
import { DATABASE, type Postgres } from './postgres.ts';
import type { Random } from './random.ts';

export interface Stage {
  readonly installation: Installation;
  readonly postgres: Postgres;
  readonly random: Random;
}

export interface Fault {
  readonly name: string;
  /** from its end until every node issues tokens and calls itself ready */
  readonly recoverySeconds: number;
  inject(stage: Stage): Promise<void>;
}

const RECOVERY_SECONDS = 20;
/** What open transactions had locked is free again after ten; until then a node may call itself not ready. */
const AFTER_A_CUT_SECONDS = 15;
const SETTLED_AFTER_MS = 1_000;
const LOCKABLE = [
  'audit_events',
  'oidc_artifacts',
  'clients',
  'users',
  'client_grants',
  'change_revision',
  'revoked_tokens',
];

const pause = (random: Random, lowSeconds: number, highSeconds: number) =>
  sleep(random.between(lowSeconds * 1000, highSeconds * 1000));
const pickNode = ({ installation, random }: Stage): Node => random.pick(installation.nodes);

/** What a process was answering, or was about to be given, is not answered. */
async function killWorker(stage: Stage): Promise<void> {
  const node = pickNode(stage);
  const settle = node.excuse();
  node.killWorker(stage.random.pick(await node.workers()));
  setTimeout(settle, SETTLED_AFTER_MS);
}

/** Its operator starts it again. */
async function killNode(stage: Stage, which: 'all' | 'primary'): Promise<void> {
  const node = pickNode(stage);
  const settle = node.excuse();
  await node.kill(which);
  await pause(stage.random, 0, 2);
  await node.start();
  settle();
}

async function stopNode(stage: Stage): Promise<void> {
  const node = pickNode(stage);
  await node.pause();
  await pause(stage.random, 1, 5);
  node.resume();
}

async function stopWorker(stage: Stage): Promise<void> {
  const node = pickNode(stage);
  // Its node may replace it meanwhile.
  const settle = node.excuse();
  await node.pause([stage.random.pick(await node.workers())]);
  await pause(stage.random, 1, 5);
  node.resume();
  settle();
}

async function cutOff(stage: Stage): Promise<void> {
  const { proxy } = pickNode(stage);
  proxy.cut();
  await pause(stage.random, 1, 5);
  proxy.mend();
}

/** The connections that are there stay silent; new ones work at once. */
async function cutPresent(stage: Stage): Promise<void> {
  for (const { proxy } of stage.installation.nodes) {
    proxy.cut();
    proxy.mend();
  }
}

function lockTable({ installation, random }: Stage): Promise<void> {
  return installation.withDatabase(async (sql) => {
    await sql.query(`BEGIN; LOCK TABLE ${random.pick(LOCKABLE)} IN ACCESS EXCLUSIVE MODE`);
    await pause(random, 1, 6);
    await sql.query('COMMIT');
  });
}

const OURS = "datname = current_database() AND application_name LIKE 'lanyard%'";

function killListeners({ installation }: Stage): Promise<void> {
  return installation.withDatabase(async (sql) => {
    for (let time = 0; time < 5; time++) {
      await sql.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${OURS} AND application_name = 'lanyard-changes'`,
      );
      await sleep(300);
    }
  });
}

function endConnections({ installation }: Stage): Promise<void> {
  return installation.withDatabase(async (sql) => {
    await sql.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${OURS}`);
  });
}

/** As a database that has become a standby, or that its operator has switched to reading. */
function refuseWrites({ installation, random }: Stage): Promise<void> {
  // This session can write: it began before.
  return installation.withDatabase(async (sql) => {
    const change = async (setting: string) => {
      await sql.query(`ALTER DATABASE ${DATABASE} ${setting}`);
      await sql.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${OURS}`);
    };
    await change('SET default_transaction_read_only = on');
    await pause(random, 1, 5);
    await change('RESET default_transaction_read_only');
  });
}

/** PostgreSQL ends all others, and recovers from its log. */
async function killBackend({ installation, random }: Stage): Promise<void> {
  const { rows } = await installation.withDatabase((sql) =>
    sql.query<{ pid: number }>(`SELECT pid FROM pg_stat_activity WHERE ${OURS} ORDER BY pid`),
  );
  process.kill(random.pick(rows).pid, 'SIGKILL');
}

async function restartPostgres({ installation, postgres, random }: Stage): Promise<void> {
  await postgres.stop();
  await pause(random, 0, 3);
  await postgres.start();
  installation.moveDatabase(postgres.connectionString());
}

async function killPostgres({ installation, postgres, random }: Stage): Promise<void> {
  await postgres.kill();
  await pause(random, 0, 3);
  await postgres.start();
  installation.moveDatabase(postgres.connectionString());
}

const named = (name: string, inject: Fault['inject'], recoverySeconds = RECOVERY_SECONDS): Fault => ({
  name,
  inject,
  recoverySeconds,
});

export const FAULTS: readonly Fault[] = [
  named('worker killed', killWorker),
  named('node killed', (stage) => killNode(stage, 'all')),
  named('primary killed', (stage) => killNode(stage, 'primary')),
  named('node stopped', stopNode),
  named('worker stopped', stopWorker),
  named('node cut off', cutOff, AFTER_A_CUT_SECONDS),
  named('connections cut', cutPresent, AFTER_A_CUT_SECONDS),
  named('connections ended', endConnections),
  named('listeners killed', killListeners),
  named('table locked', lockTable),
  named('writes refused', refuseWrites),
  named('backend killed', killBackend),
  named('postgres restarted', restartPostgres),
  named('postgres killed', killPostgres),
];
