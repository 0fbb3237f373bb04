import type { Decision, Input, RequestState, World } from "./types.ts"

/**
 * What an input does to a request: the one place where approvals are decided, for API, links, administrators and timers
 * alike. Changes nothing it was given. `state` is null before `submit`.
 */
export function decide(state: RequestState | null, input: Input, world: World): Decision {
  return {
    outcome: "refused",
    code: "approvals.request-ended",
    message: `${input.type} of ${state?.state} at ${world.now}`,
  }
}
