// What a process writes beside its answers: the log to stdout (log.ts), texts for people to stderr (main.ts). This folder owns both.
// A write never blocks the event loop and never ends the process, whatever is behind the descriptor: a full disk or one that hangs, a
// pipe that nobody reads or whose reader is gone, a terminal that is stopped or closed. What an output does not take at once waits, up
// to a limit; lines beyond it, and those of a write that fails, are dropped and counted.
//
// - Pipes and sockets are non-blocking, so that a write fails (EAGAIN) instead of waiting for the reader.
// - So is a terminal, which is opened anew for that: the mode of a descriptor is shared with the shell.
// - Files cannot be non-blocking. A thread of libuv writes them, one write at a time and seldom, which costs less than one each turn.

import cluster from 'node:cluster';
import { constants, fstatSync, openSync, write as writeInThread, writeSync } from 'node:fs';
import { isatty } from 'node:tty';

/** POSIX PIPE_BUF on Linux: so much reaches a pipe as a whole, and is not mixed with what other processes write to it. */
const CHUNK_CHARS = 4_096;
const FILE_PAUSE_MS = 10;
/** Some 4,000 lines: a few seconds of a busy server whose reader has stopped. */
const MAX_WAITING_CHARS = 1_048_576;
/** A pipe takes 64 KiB at once, so a reader that keeps up gets more lines per second than a server can write. */
const RETRY_MS = 5;
/** A reader that is only slow has read by then; one that hangs must not delay the end of the process any longer. */
const EXIT_MS = 1_000;
/** Where a worker finds the stdout of its primary (process/worker-pool.ts). */
export const WORKER_LOG_DESCRIPTOR = 4;
const NEWLINE = 0x0a;
const NOTHING: Buffer = Buffer.alloc(0);

interface Target {
  readonly descriptor: number;
  readonly isFile: boolean;
}

type Result = 'written' | 'full' | 'failed';

class Output {
  readonly #descriptor: number;
  #target: Target | undefined;
  #lines: string[] = [];
  #waitingChars = 0;
  /** of a chunk that was taken in part */
  #rest = NOTHING;
  #endsInsideLine = false;
  /** A write is under way, or will be. */
  #isBusy = false;
  #droppedLines = 0;
  #unreportedLines = 0;
  #report: (droppedLines: number) => void = () => {};

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** since the start */
  get droppedLines(): number {
    return this.#droppedLines;
  }

  /** for a child process that writes to the same output */
  get descriptor(): number {
    return this.#open().descriptor;
  }

  /** @param report is called when the output takes lines again, with the number of those that it did not take */
  onDropsEnd(report: (droppedLines: number) => void): void {
    this.#report = report;
  }

  /** @param line with its end. All lines of one turn of the event loop are written together. */
  write(line: string): void {
    if (this.#waitingChars >= MAX_WAITING_CHARS) {
      this.#drop(1);
      return;
    }
    this.#waitingChars += line.length;
    this.#lines.push(line);
    if (!this.#isBusy) this.#schedule();
  }

  #schedule(delayMs?: number): void {
    this.#isBusy = true;
    // The last lines do not keep the process alive: they are written at its exit.
    if (delayMs === undefined) setImmediate(this.#flush);
    else setTimeout(this.#flush, delayMs).unref();
  }

  readonly #flush = (): void => {
    this.#isBusy = false;
    if (this.#open().isFile) this.#writeFile();
    else if (this.#writeAll() === 'full') this.#schedule(RETRY_MS);
  };

  #writeAll(): Result {
    for (;;) {
      const chunk = this.#take(CHUNK_CHARS);
      // The report is a line too.
      if (chunk.length === 0 && !this.#reportDrops()) return 'written';
      try {
        if (chunk.length > 0) this.#written(chunk, writeSync(this.#open().descriptor, chunk));
      } catch (error) {
        this.#rest = chunk;
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 'full';
        this.#dropAll();
        return 'failed';
      }
    }
  }

  #writeFile(): void {
    const chunk = this.#take(Number.POSITIVE_INFINITY);
    if (chunk.length === 0) return;
    this.#isBusy = true;
    writeInThread(this.#open().descriptor, chunk, 0, chunk.length, null, (error, count) => {
      if (error === null) {
        this.#written(chunk, count);
        // Not only when nothing waits: while requests keep coming, something always does.
        if (this.#rest.length === 0) this.#reportDrops();
      } else {
        this.#rest = chunk;
        this.#dropAll();
      }
      this.#schedule(FILE_PAUSE_MS);
    });
  }

  /** @returns what is to be written next: as many lines as fit, one at least */
  #take(chars: number): Buffer {
    const rest = this.#rest;
    this.#rest = NOTHING;
    if (rest.length > 0 || this.#lines.length === 0) return rest;
    let count = 0;
    let size = 0;
    for (const { length } of this.#lines) {
      if (count > 0 && size + length > chars) break;
      size += length;
      count++;
    }
    const text = this.#lines.splice(0, count).join('');
    this.#waitingChars -= size;
    return Buffer.from(this.#endsInsideLine ? `\n${text}` : text);
  }

  #written(chunk: Buffer, count: number): void {
    this.#rest = chunk.subarray(count);
    if (count > 0) this.#endsInsideLine = chunk[count - 1] !== NEWLINE;
  }

  #dropAll(): void {
    // An end of line at its beginning belongs to a line that has been written.
    const restLines = this.#rest.subarray(1).reduce((count, byte) => count + Number(byte === NEWLINE), 0);
    this.#drop(restLines + this.#lines.length);
    this.#rest = NOTHING;
    this.#lines = [];
    this.#waitingChars = 0;
  }

  #drop(lines: number): void {
    this.#droppedLines += lines;
    this.#unreportedLines += lines;
  }

  /** @returns whether there was something to report */
  #reportDrops(): boolean {
    const lines = this.#unreportedLines;
    this.#unreportedLines = 0;
    if (lines > 0) this.#report(lines);
    return lines > 0;
  }

  #open(): Target {
    if (this.#target !== undefined) return this.#target;
    this.#target = openTarget(this.#descriptor);
    process.on('exit', () => this.#writeLastLines());
    return this.#target;
  }

  #writeLastLines(): void {
    const end = performance.now() + EXIT_MS;
    while (this.#writeAll() === 'full' && performance.now() < end) sleepSync(RETRY_MS);
  }
}

function openTarget(descriptor: number): Target {
  const status = fstatSync(descriptor);
  if (isatty(descriptor)) return { descriptor: openTerminal(descriptor), isFile: false };
  if (status.isFIFO() || status.isSocket()) makeNonBlocking(descriptor);
  return { descriptor, isFile: status.isFile() };
}

/** Where it cannot be opened anew (no /proc, another user's), a terminal that is stopped stops the process, as it does for any other. */
function openTerminal(descriptor: number): number {
  try {
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return descriptor;
  }
}

/** Node does it when it makes its own stream of the descriptor, and undoes it at the exit. */
function makeNonBlocking(descriptor: number): void {
  const stream = descriptor === 1 ? process.stdout : descriptor === 2 ? process.stderr : undefined;
  // What a library writes there must not end the process either.
  stream?.on('error', () => {});
}

function sleepSync(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

export const standardOutput = new Output(cluster.isWorker ? WORKER_LOG_DESCRIPTOR : 1);
export const standardError = new Output(2);
