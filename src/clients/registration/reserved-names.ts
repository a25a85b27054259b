// Names that software without an operator may not give itself, since people would take it for this
// server or for somebody who runs it. Names are compared by what they look like: by a part of the
// skeletons of Unicode Technical Standard #39, for the letters that occur in the reserved words.

/** Alone, as one word: "badminton" is none of them. */
const ROLES = ['admin', 'admins', 'administrator', 'administrators', 'administration', 'sysadmin', 'superuser'];

/** Letters that hardly occur by chance in other words. */
const LONG = 7;

/** @returns the reserved word that a name looks like; undefined if there is none */
export type FindReservedWord = (name: string) => string | undefined;

export function reservedNames(issuer: string): FindReservedWord {
  const roles = new Map(ROLES.map((word) => [skeletonOf(word), word]));
  const { hostname } = new URL(issuer);
  // A name in the network of the machine, or an address, says nothing to people.
  const hosts = /\.[a-z]/.test(hostname) ? [hostname] : [];
  const own = new Map(['Lanyard', ...hosts].map((word) => [wordsOf(word).join(''), word]));
  return (name) => {
    // "@dmin", and "Admin!"
    for (const words of [wordsOf(replaceAll(name, SYMBOLS)), wordsOf(name)]) {
      const role = words.map((word) => roles.get(word)).find((found) => found !== undefined);
      if (role !== undefined) return role;
      const [, word] = [...own].find(([skeleton]) => contains(words, skeleton)) ?? [];
      if (word !== undefined) return word;
    }
    return undefined;
  };
}

/** A short one, as of "x.com", must begin and end with words: "Flex Company" has it inside of them. */
function contains(words: readonly string[], skeleton: string): boolean {
  if (skeleton.length >= LONG) return words.join('').includes(skeleton);
  return words.some((_word, first) => words.some((_each, last) => words.slice(first, last + 1).join('') === skeleton));
}

/** The skeletons of its words. Letters that stand alone, as in "A d m i n", are one word together. */
function wordsOf(name: string): string[] {
  return replaceAll(name.replace(/[™®©℠]/gu, ' ').normalize('NFKC'), LOOKALIKES)
    .replace(/(?<=\p{Ll})(?=\p{Lu})/gu, ' ')
    .split(/[^\p{L}\p{N}\p{M}]+/u)
    .filter((word) => word !== '')
    .reduce<{ text: string; isSpelled: boolean }[]>((all, word) => {
      const last = all.at(-1);
      const isSpelled = [...word].length === 1;
      if (last?.isSpelled && isSpelled) last.text += word;
      else all.push({ text: word, isSpelled });
      return all;
    }, [])
    .map(({ text }) => skeletonOf(text));
}

function skeletonOf(word: string): string {
  const plain = word.normalize('NFD').replace(/\p{M}/gu, '');
  const lower = replaceAll(replaceAll(plain, LOOKALIKES).toLowerCase(), LOOKALIKES);
  return lower.replaceAll('rn', 'm').replaceAll('vv', 'w').replaceAll('l', 'i');
}

function replaceAll(text: string, replacements: ReadonlyMap<string, string>): string {
  return [...text].map((character) => replacements.get(character) ?? character).join('');
}

const SYMBOLS: ReadonlyMap<string, string> = new Map(pairs('@$!|', 'asii'));

/** By what they look like. Capitals first, since their small letters may look like others. */
const LOOKALIKES: ReadonlyMap<string, string> = new Map([
  ...pairs('ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ', 'ABEZHIKMNOPTYX'),
  ...pairs('АВЕЅІЈКМНОРСТУХԌԚԜ', 'ABESIJKMHOPCTYXGQW'),
  ...pairs('ᎪᎠᎷᎥᏞᎳᏒᎡᏙᏢᏟᎬᎻᎫᏦ', 'ADMiLWRRVPCEHJK'),
  ...pairs('αβγδεηικνορστυχω', 'abydenikvopstuxw'),
  ...pairs('абвгдезіїјкмнопрстухԁԛԝһѕѵѡ', 'abbrdeziijkmhonpctyxdqwhsvw'),
  ...pairs('օոսցհաւ', 'onughaw'),
  ...pairs('ıɑɡɩɪʏɴʀʟᴀʙᴄᴅᴇꜰɢʜᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡᴢłøđħŧ', 'iagiiynrlabcdefghjkmopstuvwzlodht'),
  ...pairs('013457', 'oieast'),
  ...[0x1f1e6, 0x1f170, 0x1f150].flatMap((first) => pairs(letters(first), letters(0x61))),
]);

function pairs(from: string, to: string): [string, string][] {
  const targets = [...to];
  return [...from].map((character, index) => [character, targets[index] ?? character]);
}

function letters(first: number): string {
  return Array.from({ length: 26 }, (_, index) => String.fromCodePoint(first + index)).join('');
}
