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
  /** the operation of the bare engine that this one is compared with, when the engine cannot do the same */
  readonly comparedWith?: string;
  /** Called before each round and not measured. */
  prepare(subject: Subject, plan: RoundPlan): Promise<Workload>;
}

export const BOTH = ['engine', 'lanyard'] as const;
export const EVERYBODY = ['engine', 'lanyard', 'foreign'] as const;
