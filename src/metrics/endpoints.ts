// Which endpoint a request is for, as a word from a closed list: a path is the caller's to choose and must never become a label.

export const ENDPOINTS = [
  'token',
  'introspection',
  'revocation',
  'userinfo',
  'authorization',
  'pushed_authorization_request',
  'device_authorization',
  'code_verification',
  'registration',
  'jwks',
  'logout',
  'discovery',
  'interaction',
  'admin',
  'health',
  'other',
] as const;

export type Endpoint = (typeof ENDPOINTS)[number];

const FIRST_SEGMENTS: Readonly<Record<string, Endpoint>> = {
  interaction: 'interaction',
  admin: 'admin',
  health: 'health',
};

/** Ours, not the engine's (RFC 7591). */
const REGISTRATION = '/oauth2/register';

/** Where the protocol endpoints are; what they are called there belongs to the engine's configuration. */
export type EndpointPaths = Readonly<
  Record<
    | Exclude<Endpoint, 'registration' | 'logout' | 'discovery' | 'interaction' | 'admin' | 'health' | 'other'>
    | 'end_session',
    string
  >
>;

/** @returns a function from the path of a request, without its query, to its endpoint */
export function createEndpointFinder(paths: EndpointPaths): (path: string) => Endpoint {
  const { end_session, ...others } = paths;
  const exact = new Map<string, Endpoint>([
    ...Object.entries(others).map(([name, path]): [string, Endpoint] => [path, name as keyof typeof others]),
    [end_session, 'logout'],
    [`${end_session}/confirm`, 'logout'],
    [`${end_session}/success`, 'logout'],
    [REGISTRATION, 'registration'],
    ['/.well-known/openid-configuration', 'discovery'],
    ['/.well-known/oauth-authorization-server', 'discovery'],
  ]);
  // The way back from the login page: /oauth2/authorize/<id>.
  const resume = `${paths.authorization}/`;
  return (path) => {
    const endpoint = exact.get(path);
    if (endpoint !== undefined) return endpoint;
    if (path.startsWith(resume)) return 'authorization';
    if (path.startsWith(`${paths.code_verification}/`)) return 'code_verification';
    if (path.startsWith(`${REGISTRATION}/`)) return 'registration';
    const segment = path.slice(1).split('/', 1)[0] as string;
    return Object.hasOwn(FIRST_SEGMENTS, segment) ? (FIRST_SEGMENTS[segment] as Endpoint) : 'other';
  };
}
