// X.509 certificates (RFC 5280) for tests: self-signed ones, authorities, and what those sign. Node
// can read certificates but not make them; this file encodes the few structures that are needed.

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly der: Buffer;
  readonly x509: X509Certificate;
}

export interface CertificateOptions {
  /**
   * attribute and value, from the most general to the most special, e.g. `[['O', 'Corner Shop'],
   * ['CN', 'shop']]`
   */
  readonly subject?: readonly (readonly ['C' | 'O' | 'OU' | 'CN', string])[];
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
  readonly uri?: readonly string[];
  readonly email?: readonly string[];
  readonly isAuthority?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** undefined: it signs itself */
  readonly issuer?: Certificate;
}

const OIDS = { C: '550406', O: '55040a', OU: '55040b', CN: '550403' } as const;
const ECDSA_WITH_SHA256 = tlv(0x30, tlv(0x06, Buffer.from('2a8648ce3d040302', 'hex')));

export function makeCertificate(options: CertificateOptions = {}): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = nameOf(options.subject ?? [['CN', 'test']]);
  const issuerName = options.issuer === undefined ? subject : subjectOf(options.issuer);
  const signingKey = options.issuer === undefined ? privateKey : createPrivateKey(options.issuer.key);
  const day = 86_400_000;
  const validity = sequence(
    time(options.notBefore ?? new Date(Date.now() - day)),
    time(options.notAfter ?? new Date(Date.now() + 30 * day)),
  );
  const toBeSigned = sequence(
    tlv(0xa0, integer(Buffer.from([2]))), // v3
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    issuerName,
    validity,
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensionsOf(options))),
  );
  const signature = sign('sha256', toBeSigned, signingKey);
  const der = sequence(toBeSigned, ECDSA_WITH_SHA256, bitString(signature));
  const pem = der
    .toString('base64')
    .replace(/(.{64})/g, '$1\n')
    .trimEnd();
  const cert = `-----BEGIN CERTIFICATE-----\n${pem}\n-----END CERTIFICATE-----\n`;
  return { cert, key: exportKey(privateKey), der, x509: new X509Certificate(cert) };
}

/** RFC 7517 §4.7: the JWK of a certificate's key, with the certificate. */
export function jwkWithCertificate({ der, cert }: Certificate): Record<string, unknown> {
  return { ...createPublicKey(cert).export({ format: 'jwk' }), x5c: [der.toString('base64')], use: 'sig' };
}

function exportKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** The bytes of the subject of a certificate: the sixth element of what is signed. */
function subjectOf({ der }: Certificate): Buffer {
  let at = contentOf(der, contentOf(der, 0));
  for (let element = 0; element < 5; element++) at = endOf(der, at);
  return der.subarray(at, endOf(der, at));
}

function contentOf(der: Buffer, at: number): number {
  const first = der[at + 1] as number;
  return at + 2 + (first < 0x80 ? 0 : first & 0x7f);
}

function endOf(der: Buffer, at: number): number {
  const first = der[at + 1] as number;
  const length = first < 0x80 ? first : Number.parseInt(der.subarray(at + 2, contentOf(der, at)).toString('hex'), 16);
  return contentOf(der, at) + length;
}

function nameOf(attributes: readonly (readonly [keyof typeof OIDS, string])[]): Buffer {
  return sequence(
    ...attributes.map(([name, value]) =>
      tlv(0x31, sequence(tlv(0x06, Buffer.from(OIDS[name], 'hex')), tlv(0x0c, Buffer.from(value)))),
    ),
  );
}

function extensionsOf({ dns = [], ip = [], uri = [], email = [], isAuthority = false }: CertificateOptions): Buffer[] {
  const names = [
    ...email.map((value) => tlv(0x81, Buffer.from(value))),
    ...dns.map((value) => tlv(0x82, Buffer.from(value))),
    ...uri.map((value) => tlv(0x86, Buffer.from(value))),
    ...ip.map((value) => tlv(0x87, addressBytes(value))),
  ];
  const basic = isAuthority ? sequence(tlv(0x01, Buffer.from([0xff]))) : sequence();
  return [extension('551d13', basic, true), ...(names.length === 0 ? [] : [extension('551d11', sequence(...names))])];
}

/** IPv4, or IPv6 with all of its eight groups written out. */
function addressBytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  return Buffer.concat(address.split(':').map((group) => Buffer.from(group.padStart(4, '0'), 'hex')));
}

function extension(oid: string, value: Buffer, isCritical = false): Buffer {
  const critical = isCritical ? [tlv(0x01, Buffer.from([0xff]))] : [];
  return sequence(tlv(0x06, Buffer.from(oid, 'hex')), ...critical, tlv(0x04, value));
}

function time(instant: Date): Buffer {
  return tlv(0x18, Buffer.from(instant.toISOString().replace(/[-:T]|\.\d+/g, '')));
}

function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes);
}

function bitString(bytes: Buffer): Buffer {
  return tlv(0x03, Buffer.concat([Buffer.from([0]), bytes]));
}

function sequence(...parts: Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const bytes = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
}
