// An operation of the bench: what it is called, on whom it is measured, and how a server is prepared for one round of it.

import type { Workload } from '../load/workload.ts';
import type { Subject } from '../subjects/subject.ts';

export interface RoundPlan {
  readonly connections: number;
  readonly seconds: number;
}

export interface Operation {
  readonly id: string;
  readonly title: string;
  readonly measuredOn: readonly Subject['name'][];
  /** shown below the table: in what the servers do not do the same */
  readonly remark?: string;
  /** Called before each round and not measured. */
  prepare(subject: Subject, plan: RoundPlan): Promise<Workload>;
}

export const BOTH = ['engine', 'lanyard'] as const;
export const EVERYBODY = ['engine', 'lanyard', 'foreign'] as const;
