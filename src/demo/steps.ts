// The transcript of the demo. Every step states beforehand what it expects, in the words that the reader sees; what it observes must be
// exactly that, or the story ends there.

/** What a step has observed, and what the following steps need from it. */
export interface Observation<T> {
  readonly observed: string;
  readonly value: T;
}

export interface Transcript {
  chapter(title: string): void;
  /** A sentence or a document between the steps. */
  tell(text: string): void;
  /**
   * Does something and compares.
   * @throws UnexpectedOutcome when it was not what was expected, or when it threw
   */
  step<T>(title: string, expected: string, act: () => Promise<Observation<T>>): Promise<T>;
  /** how many steps did what they should */
  readonly passedSteps: number;
}

/** A step did something else than it should. The transcript says so already. */
export class UnexpectedOutcome extends Error {
  constructor(title: string, expected: string, observed: string) {
    super(`"${title}": expected ${expected}, observed ${observed}`);
    this.name = 'UnexpectedOutcome';
  }
}

/** Columns for the title of a step; the outcome follows. */
const TITLE_WIDTH = 66;

export function createTranscript(write: (line: string) => void): Transcript {
  let chapters = 0;
  let passedSteps = 0;

  function report(isPassed: boolean, title: string, outcome: string): void {
    write(`   ${isPassed ? 'ok  ' : 'FAIL'} ${title.padEnd(TITLE_WIDTH)} ${outcome}`);
  }

  return {
    chapter(title) {
      chapters += 1;
      write('');
      write(`${chapters}. ${title}`);
    },
    tell(text) {
      for (const line of text.split('\n')) write(`        ${line}`);
    },
    async step(title, expected, act) {
      const { observed, value } = await act().catch((error: unknown) => {
        report(false, title, `expected ${expected}, but: ${error}`);
        throw new UnexpectedOutcome(title, expected, String(error));
      });
      if (observed !== expected) {
        report(false, title, `expected ${expected}, observed ${observed}`);
        throw new UnexpectedOutcome(title, expected, observed);
      }
      passedSteps += 1;
      report(true, title, observed);
      return value;
    },
    get passedSteps() {
      return passedSteps;
    },
  };
}
