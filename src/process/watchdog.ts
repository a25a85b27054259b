// Finds workers that hang: a blocked event loop, a process that was stopped. Each is asked once a second, and one that has left too many
// questions unanswered is reported, to be killed and replaced (worker-pool.ts).
//
// What is counted are the questions, not the time: when the whole machine was suspended, nobody was asked, and nobody is late.

const INTERVAL_MS = 1_000;
/** The event loop of a healthy worker is never blocked for a second; proxies and health checks have given up on it by then. */
const MAX_UNANSWERED = 10;
/** A worker that starts loads its modules first, without a turn of the event loop, for seconds when all of them start on a busy machine. */
const MAX_UNANSWERED_AT_START = 60;

interface Watched {
  isStarting: boolean;
  unanswered: number;
}

export interface Watchdog<Worker> {
  /** It is starting, which may take longer. */
  watch(worker: Worker): void;
  hasStarted(worker: Worker): void;
  answered(worker: Worker): void;
  forget(worker: Worker): void;
  stop(): void;
}

/** @param onHang is called once for a worker, which is forgotten then */
export function createWatchdog<Worker>(
  ask: (worker: Worker) => void,
  onHang: (worker: Worker, unanswered: number) => void,
): Watchdog<Worker> {
  const watched = new Map<Worker, Watched>();
  const timer = setInterval(() => {
    for (const [worker, state] of watched) {
      if (state.unanswered >= (state.isStarting ? MAX_UNANSWERED_AT_START : MAX_UNANSWERED)) {
        watched.delete(worker);
        onHang(worker, state.unanswered);
      } else {
        state.unanswered++;
        ask(worker);
      }
    }
  }, INTERVAL_MS);
  const update = (worker: Worker, change: Partial<Watched>) => {
    const state = watched.get(worker);
    if (state !== undefined) Object.assign(state, change);
  };
  return {
    watch: (worker) => void watched.set(worker, { isStarting: true, unanswered: 0 }),
    hasStarted: (worker) => update(worker, { isStarting: false }),
    answered: (worker) => update(worker, { unanswered: 0 }),
    forget: (worker) => void watched.delete(worker),
    stop: () => clearInterval(timer),
  };
}
