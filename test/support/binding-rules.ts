// "One rule, one file" as a check: only client-binding.ts compares client ids and makes the claims
// of the binding.

import { type Node, nodesIn, type SourceFile } from './source-tree.ts';

const THE_RULE = 'client-binding.ts';

/** clientId, client_id, callerClientId, allowedClientIds, CLIENT_ID, azp … */
const NAMES_A_CLIENT = /client_?ids?$|^azp$/i;
const EQUALITY = new Set(['===', '!==', '==', '!=']);
/** Ways to compare without an operator. */
const COMPARING_CALLS =
  /^(includes|has|indexOf|lastIndexOf|equals|is|localeCompare|timingSafeEqual|isDeepStrictEqual)$/;

/** Comparisons of a client id with anything but "there is none". */
export function clientIdComparisons(files: readonly SourceFile[]): string[] {
  return offences(files, (node) => {
    if (node.type === 'BinaryExpression' && EQUALITY.has(String(node.operator))) {
      const sides = [node.left as Node, node.right as Node];
      return sides.some(namesClient) && !sides.some(isNothing);
    }
    if (node.type === 'SwitchStatement') return namesClient(node.discriminant as Node);
    if (node.type !== 'CallExpression') return false;
    const callee = node.callee as Node;
    const name = lastName(callee);
    if (name === undefined || !COMPARING_CALLS.test(name)) return false;
    const operands = (node.arguments as { expression: Node }[]).map(({ expression }) => expression);
    if (callee.type === 'MemberExpression') operands.push(callee.object as Node);
    // clientId.includes('\\0') asks about its form.
    const isOfForm = operands[0]?.type === 'StringLiteral' && String(operands[0].value).length === 1;
    return operands.some(namesClient) && !isOfForm;
  });
}

/**
 * `azp` is named outside of the rule only where the engine has to be told or asked: there it must be a copy of another `azp`
 * (of what bindingClaims() gave, or of the token that boundClientId() is asked about), never a value of its own.
 */
export function azpOfOnesOwn(files: readonly SourceFile[]): string[] {
  return offences(files, (node, parents) => {
    if (node.type === 'AssignmentExpression') return lastName(node.left as Node) === 'azp';
    if (!isName(node) || node.value !== 'azp') return false;
    const parent = parents.at(-1);
    // the copy itself, x.azp, and the declaration of a type
    if (parent?.type === 'MemberExpression' || parent?.type === 'TsPropertySignature') return false;
    // { azp: x.azp }
    if (parent?.type === 'KeyValueProperty') return lastName(parent.value as Node) !== 'azp';
    // set('azp', x.azp)
    if (parent?.type === 'CallExpression') {
      const [first, second] = parent.arguments as { expression: Node }[];
      return first?.expression !== node || second === undefined || lastName(second.expression) !== 'azp';
    }
    return true;
  });
}

/** The files, other than the rule, in which `azp` is a name at all. */
export function filesThatNameAzp(files: readonly SourceFile[]): string[] {
  const names = (file: SourceFile) => [...nodesIn(file.syntax)].some((node) => isName(node) && node.value === 'azp');
  return files.filter((file) => file.path !== THE_RULE && names(file)).map((file) => file.path);
}

function offences(files: readonly SourceFile[], isOne: (node: Node, parents: readonly Node[]) => boolean): string[] {
  const found: string[] = [];
  for (const file of files) {
    if (file.path === THE_RULE) continue;
    walk(file.syntax, [], (node, parents) => {
      if (isOne(node, parents))
        found.push(`${file.path}: ${[...nodesIn(node)].map(({ value }) => value).filter(Boolean)}`);
    });
  }
  return found;
}

function walk(value: unknown, parents: readonly Node[], visit: (node: Node, parents: readonly Node[]) => void): void {
  if (value === null || typeof value !== 'object') return;
  const isNode = typeof (value as Node).type === 'string';
  if (isNode) visit(value as Node, parents);
  const below = isNode ? [...parents, value as Node] : parents;
  for (const member of Object.values(value)) walk(member, below, visit);
}

function isName(node: Node): boolean {
  return node.type === 'Identifier' || node.type === 'StringLiteral';
}

/** Looks through `!`, `?.`, `as`, parentheses and String(x). */
function unwrap(node: Node): Node {
  const inner = (node.expression ?? node.base) as Node | undefined;
  if (/^(TsNonNull|TsAs|TsSatisfies|TsConst|Parenthesis|OptionalChaining|Await)/.test(node.type) && inner) {
    return unwrap(inner);
  }
  if (node.type !== 'CallExpression') return node;
  const [only, ...rest] = node.arguments as { expression: Node }[];
  const callee = node.callee as Node;
  if (NAMES_A_CLIENT.test(lastName(callee) ?? '')) return callee; // boundClientId(claims)
  const isConversion = callee.type === 'Identifier' || lastName(callee) === 'from'; // String(x), Buffer.from(x)
  return isConversion && only !== undefined && rest.length === 0 ? unwrap(only.expression) : node;
}

function lastName(expression: Node): string | undefined {
  const node = unwrap(expression);
  if (node.type === 'Identifier') return String(node.value);
  if (node.type !== 'MemberExpression') return undefined;
  const property = node.property as Node;
  const name = property.type === 'Computed' ? (property.expression as Node) : property;
  return isName(name) ? String(name.value) : undefined;
}

function namesClient(expression: Node): boolean {
  return NAMES_A_CLIENT.test(lastName(expression) ?? '');
}

function isNothing(node: Node): boolean {
  return node.type === 'NullLiteral' || (node.type === 'Identifier' && node.value === 'undefined');
}
