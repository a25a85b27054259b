// Requests from the guard to the issuer. Any response other than 200 with a JSON object is an
// error, which the guard answers with 503.

/** Such a request takes milliseconds, and the caller of the API waits for it. */
export const REQUEST_TIMEOUT_MS = 5000;

/** A guard follows an issuer that moves its endpoints without a restart. */
const DISCOVERY_CACHE_MS = 60 * 60 * 1000;

export async function requestJson(
  fetchImplementation: typeof fetch,
  url: URL,
  request: { method: 'GET' | 'POST'; headers?: Record<string, string>; body?: string; timeoutMs: number },
): Promise<Record<string, unknown>> {
  const { timeoutMs, headers, ...init } = request;
  const response = await fetchImplementation(url, {
    ...init,
    headers: { accept: 'application/json', ...headers },
    // A redirect would send credentials and token to another server.
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`${url.origin}${url.pathname} answered with status ${response.status}`);
  }
  const json = parseJson(await response.text());
  if (!isRecord(json)) throw new Error(`${url.origin}${url.pathname} did not answer with a JSON object`);
  return json;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Discards the error of JSON.parse, which quotes its input. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export type EndpointName = 'jwks_uri' | 'introspection_endpoint';

/**
 * Finds an endpoint in the issuer's discovery document (OpenID Connect Discovery §4). The document
 * is fetched at the first call, once for all concurrent calls; a failure is not cached.
 */
export function createEndpointFinder(
  issuer: string,
  name: EndpointName,
  fetchImplementation: typeof fetch,
): () => Promise<URL> {
  // §4.1: "any terminating / MUST be removed before appending /.well-known/openid-configuration".
  const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  let current: { readonly endpoint: Promise<URL>; readonly staleAtMs: number } | undefined;

  async function read(): Promise<URL> {
    const document = await requestJson(fetchImplementation, url, { method: 'GET', timeoutMs: REQUEST_TIMEOUT_MS });
    // §4.3: the issuer "MUST be identical", or the keys of another server would be accepted.
    if (document.issuer !== issuer) throw new Error('the discovery document belongs to another issuer');
    const endpoint = document[name];
    if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) throw new Error(`the issuer publishes no ${name}`);
    const endpointUrl = new URL(endpoint);
    if (url.protocol === 'https:' && endpointUrl.protocol !== 'https:') throw new Error(`${name} is not https`);
    return endpointUrl;
  }

  return () => {
    if (current !== undefined && current.staleAtMs > Date.now()) return current.endpoint;
    const started = { endpoint: read(), staleAtMs: Date.now() + DISCOVERY_CACHE_MS };
    current = started;
    started.endpoint.catch(() => {
      if (current === started) current = undefined;
    });
    return started.endpoint;
  };
}
