// Which features of the engine are on, and which that are on by default are off.

import type { Configuration } from 'oidc-provider';
import type { Config } from '../../config/config.ts';
import type { GuessThrottle } from '../../users/throttle.ts';
import { metadataDocuments } from '../clients/metadata-documents.ts';
import { mutualTls, type ReadClientCertificate } from '../clients/mutual-tls.ts';
import { readEngineForm } from '../engine-internals.ts';
import { deviceFlow } from '../grants/device-flow.ts';
import type { Pages } from '../http/pages.ts';
import { RichAuthorizationRequests } from '../policy/authorization-details.ts';
import type { DefaultResource } from '../policy/default-resource.ts';
import type { Directory } from '../policy/directory.ts';
import type { ResourcePolicy } from '../policy/resource-server-policy.ts';
import { assertClaims } from './claims-parameter.ts';
import { dpop } from './dpop.ts';
import { assertRequestObject, fapiProfile } from './fapi.ts';

export interface FeaturesDeps {
  readonly pages: Pages;
  readonly resourcePolicy: Pick<ResourcePolicy, 'getResourceServerInfo'>;
  readonly defaultResource: DefaultResource;
  readonly dpopNonceSecret: Buffer;
  readonly directory: Directory;
  readonly config: Pick<Config, 'registration'>;
  /** by network address */
  readonly documentThrottle: Pick<GuessThrottle, 'attempt'>;
  readonly readClientCertificate: ReadClientCertificate | undefined;
}

/** Configuration `features`. */
export function features(deps: FeaturesDeps): NonNullable<Configuration['features']> {
  return {
    // On by default: a login page that accepts every user without a password.
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    // The answers are made by tokens/introspection and tokens/revocation.
    introspection: { enabled: true, allowedPolicy: () => false },
    revocation: { enabled: true, allowedPolicy: () => false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: deps.resourcePolicy.getResourceServerInfo,
      defaultResource: deps.defaultResource.ofRequest,
      // A granted resource need not be named again at the token endpoint.
      useGrantedResource: () => true,
    },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => deps.pages.renderLogout(ctx, readEngineForm(form)),
      postLogoutSuccessSource: (ctx) => deps.pages.renderSignedOut(ctx),
    },
    backchannelLogout: { enabled: true },
    externalSigningSupport: { enabled: true, ack: 'experimental-01' },
    userinfo: { enabled: true },
    deviceFlow: deviceFlow(deps.pages),
    mTLS: mutualTls(deps.readClientCertificate),
    clientIdMetadataDocument: metadataDocuments(deps.config.registration.metadataHosts, deps.documentThrottle),
    jwtUserinfo: { enabled: true },
    jwtIntrospection: { enabled: true },
    claimsParameter: { enabled: true, assertClaimsParameter: assertClaims },
    pushedAuthorizationRequests: { enabled: true },
    requestObjects: { enabled: true, assertJwtClaimsAndHeader: assertRequestObject },
    jwtResponseModes: { enabled: true },
    richAuthorizationRequests: new RichAuthorizationRequests(deps.directory),
    fapi: { enabled: true, profile: fapiProfile },
    dPoP: dpop(deps.dpopNonceSecret),
  } as NonNullable<Configuration['features']>;
}
