// The device flow (RFC 8628) at the engine: a device without a browser shows a code, a person types it in on another device, sees
// which app asks for what, confirms, and signs in. A link that carries the code leads to the same confirmation (§5.4), so that a
// person who was sent one sees what it would allow. Guessing of codes is throttled here; the grant itself is in device-code.

import type { Middleware } from 'koa';
import type { Client, Configuration } from 'oidc-provider';
import type { GuessThrottle } from '../../users/throttle.ts';
import { asEngineContext, deviceProblemOf, readEngineForm } from '../engine-internals.ts';
import type { Pages } from '../http/pages.ts';
import { POLL_SECONDS } from './device-code.ts';

/** Long enough to find one's phone and type. */
export const DEVICE_CODE_SECONDS = 600;

/** Emitted by the engine instance: it has no event of its own for people who refuse, where they type the code in or later. */
export const DEVICE_DENIED = 'device.denied';

type DevicePages = Pick<Pages, 'renderError' | 'renderUserCode' | 'renderDeviceConfirmation' | 'renderDeviceDone'>;

/** Who guesses right once has the device of a stranger. */
const guesses = new WeakSet<object>();

/** Configuration `features.deviceFlow`. */
export function deviceFlow(pages: DevicePages): NonNullable<NonNullable<Configuration['features']>['deviceFlow']> {
  return {
    enabled: true,
    // RFC 8628 §6.1: without vowels no words, without 0 and O, 1 and I nothing to mistake.
    charset: 'base-20',
    mask: '****-****',
    deviceInfo: (ctx) => ({ ip: ctx.ip }),
    async userCodeInputSource(ctx, form, out, error) {
      // The budget of its address is used up (policy/write-budget).
      if (ctx.status === 429 && error !== undefined) {
        return pages.renderError(ctx, out as { error: string; error_description?: string }, error as Error);
      }
      const problem = error && deviceProblemOf(error);
      if (problem === 'unknown') guesses.add(ctx);
      if (problem === 'aborted') ctx.oidc.provider.emit(DEVICE_DENIED, ctx);
      await pages.renderUserCode(ctx, { ...readEngineForm(form), problem });
    },
    async userCodeConfirmSource(ctx, form, client, deviceInfo, userCode) {
      const params = ctx.oidc.entities.DeviceCode?.params ?? {};
      const asked = { client: client as Client, address: String(deviceInfo.ip), userCode, params };
      await pages.renderDeviceConfirmation(ctx, { ...readEngineForm(form), ...asked });
    },
    async successSource(ctx) {
      await pages.renderDeviceDone(ctx);
    },
  };
}

export interface DeviceAnswersDeps {
  readonly paths: { readonly device_authorization: string; readonly code_verification: string };
  readonly throttle: GuessThrottle;
  readonly pages: Pick<Pages, 'renderTooManyGuesses'>;
}

/** Tells devices how often they may poll (§3.2), and throttles the guessing of user codes (§5.1). */
export function deviceAnswers({ paths, throttle, pages }: DeviceAnswersDeps): Middleware {
  return async (ctx, next) => {
    if (ctx.path === paths.device_authorization) {
      await next();
      const answer = ctx.body as { device_code?: string; interval?: number } | undefined;
      if (answer?.device_code !== undefined) answer.interval = POLL_SECONDS;
      return;
    }
    if (ctx.path !== paths.code_verification || ctx.method !== 'POST') return next();
    // Counted before it is looked at, and given back when it was right: a hundred guesses at once are a hundred guesses.
    const retryAfterSeconds = await throttle.attempt(ctx.ip);
    if (retryAfterSeconds !== undefined) {
      pages.renderTooManyGuesses(asEngineContext(ctx), retryAfterSeconds);
      return;
    }
    await next();
    if (!guesses.has(ctx)) await throttle.giveBack(ctx.ip);
  };
}
