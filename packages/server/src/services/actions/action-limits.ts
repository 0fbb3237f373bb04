/** What bounds the performing of actions. Those that a caller can meet are in the contract (`actionLimits`). */
export const performingLimits = {
  /** Calls at once in one server, and of one rule among them. */
  runsMax: 16,
  ruleRunsMax: 4,
  /** After that a server that claimed a run counts as gone. */
  claimMilliseconds: 60_000,
  /** Due runs that one look takes in. */
  windowMax: 500,
  /** The last tries, which a run shows. */
  triesMax: 20,
  messageLengthMax: 1_000,
  /** How long a run that waits for an approval rests before it is asked again what became of that. */
  heldMilliseconds: 600_000,
  /** Rows that one statement touches. */
  rowsPerStatement: 1_000,
  /** Events that one job takes. */
  eventsPerJobMax: 250,
  /** Groups whose time has come that one look takes in. */
  dueGroupsMax: 100,
  /** An event tells of dropped firings of a rule no oftener, however short its budget's time is. */
  droppedToldMilliseconds: 60_000,
  /** Longer than any job is tried again. */
  inboxMilliseconds: 3 * 86_400_000,
  stopMilliseconds: 10_000,
} as const

/** The pauses after the first, second, … failed try: about nine hours together. The tenth failure is the last. */
export const retryPausesMilliseconds: readonly number[] = [
  1_000, 5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000,
]
