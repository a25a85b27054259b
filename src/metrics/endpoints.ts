// The label for the endpoint of a request, from a closed list: callers choose paths freely, so that
// a path must never become a label.

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

const FIRST_SEGMENTS = new Map<string, Endpoint>([
  ['interaction', 'interaction'],
  ['admin', 'admin'],
  ['health', 'health'],
]);

/** RFC 7591. It is not an endpoint of the engine. */
const REGISTRATION = '/oauth2/register';

/** The paths of the protocol endpoints, by their name in the engine's configuration. */
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
  const pathOf: Partial<Record<Endpoint, string>> = others;
  const exact = new Map<string, Endpoint>([
    ...ENDPOINTS.flatMap((endpoint): [string, Endpoint][] => {
      const path = pathOf[endpoint];
      return path === undefined ? [] : [[path, endpoint]];
    }),
    [end_session, 'logout'],
    [`${end_session}/confirm`, 'logout'],
    [`${end_session}/success`, 'logout'],
    [REGISTRATION, 'registration'],
    ['/.well-known/openid-configuration', 'discovery'],
    ['/.well-known/oauth-authorization-server', 'discovery'],
    ['/.well-known/oauth-protected-resource/admin', 'discovery'],
  ]);
  // The login page redirects to /oauth2/authorize/<id>.
  const resume = `${paths.authorization}/`;
  return (path) => {
    const endpoint = exact.get(path);
    if (endpoint !== undefined) return endpoint;
    if (path.startsWith(resume)) return 'authorization';
    if (path.startsWith(`${paths.code_verification}/`)) return 'code_verification';
    if (path.startsWith(`${REGISTRATION}/`)) return 'registration';
    const [segment = ''] = path.slice(1).split('/', 1);
    return FIRST_SEGMENTS.get(segment) ?? 'other';
  };
}
