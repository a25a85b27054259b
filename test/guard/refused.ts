import { type Guard, GuardRefusal, type RouteRequirements } from '../../src/guard/index.ts';

/** The refusal that a guard throws; fails the test if it lets the request through or throws something else. */
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
  throw new Error('the guard let the request through');
}
