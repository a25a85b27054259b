// An operation of the bench: its title, the servers it is measured on, and the preparation of a
// round.

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
  /** a difference between the servers, shown below the table */
  readonly remark?: string;
  /** Called before each round and not measured. */
  prepare(subject: Subject, plan: RoundPlan): Promise<Workload>;
}

export const BOTH = ['engine', 'lanyard'] as const;
export const ALL_SUBJECTS = ['engine', 'lanyard', 'foreign'] as const;
