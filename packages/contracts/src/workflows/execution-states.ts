/** Without schemas, for programs that only look at states. */
export const executionStates = [
  "planning",
  "running",
  "pausing",
  "paused",
  "aborting",
  "succeeded",
  "incomplete",
  "failed",
  "aborted",
] as const
export const executionStatesTerminal = ["succeeded", "incomplete", "failed", "aborted"] as const
