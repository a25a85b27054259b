// What is present now, of things that come and go by the thousand. A Set would do, but for the garbage collector: a table that
// a Set has outgrown points to the next one (for iterators that are still in it), so once a table has reached the old
// generation, whatever was in any of those after it stays until the whole heap is swept. With requests in it that was a fifth
// of the server's time.

export interface Slots<Item extends object> {
  /** @returns what takes it out again */
  put(item: Item): () => void;
  present(): Item[];
}

export function createSlots<Item extends object>(): Slots<Item> {
  const slots: (Item | undefined)[] = [];
  const free: number[] = [];
  return {
    put(item) {
      const slot = free.pop() ?? slots.length;
      slots[slot] = item;
      return () => {
        if (slots[slot] !== item) return;
        slots[slot] = undefined;
        free.push(slot);
      };
    },
    present: () => slots.filter((item) => item !== undefined),
  };
}
