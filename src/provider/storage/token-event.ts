// What the audit log keeps of a token.

import type { AuditEvent } from '../../audit/audit.ts';

/** The members of the token models that an audit event keeps; none of them is a credential. */
export interface ReportedToken {
  readonly kind: string;
  readonly format?: string | undefined;
  readonly jti: string;
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly aud?: string | string[] | undefined;
  readonly scope?: string | undefined;
  readonly gty?: string | undefined;
  readonly jkt?: string | undefined;
  readonly 'x5t#S256'?: string | undefined;
}

export function tokenEvent(type: 'token.issued' | 'token.revoked', token: ReportedToken): AuditEvent {
  return {
    type,
    actor: `client:${token.clientId}`,
    clientId: token.clientId,
    accountId: token.accountId,
    detail: {
      kind: token.kind,
      ...(token.format === 'jwt' ? { format: 'jwt', jti: token.jti } : {}),
      ...(token.aud === undefined ? {} : { aud: token.aud }),
      ...(token.scope === undefined ? {} : { scope: token.scope }),
      ...(token.gty === undefined ? {} : { grant_type: token.gty }),
      ...boundKey(token),
    },
  };
}

/** RFC 7800, by the name that it has in the token. A thumbprint is no secret. */
function boundKey({ jkt, 'x5t#S256': certificate }: ReportedToken): { cnf?: Record<string, string> } {
  if (jkt !== undefined) return { cnf: { jkt } };
  return certificate === undefined ? {} : { cnf: { 'x5t#S256': certificate } };
}
