import { type Guard, GuardRefusal, type RouteRequirements } from '../../src/guard/index.ts';

/** @returns the refusal of the guard; @throws if it accepts the request or throws another error */
export async function refused(
  guard: Guard,
  authorization: string | string[] | undefined,
  requirements?: RouteRequirements,
): Promise<GuardRefusal> {
  try {
    await guard.check(authorization, requirements);
  } catch (error) {
    if (error instanceof GuardRefusal) return error;
    throw error;
  }
  throw new Error('the guard accepted the request');
}
