/** What bounds notifications. Those that a caller can meet are in the contract (`notificationLimits`). */
export const deliveryLimits = {
  httpTimeoutMilliseconds: 10_000,
  /** For each wait within a mail's exchange, and for the exchange as a whole. */
  mailTimeoutMilliseconds: 20_000,
  mailDeadlineMilliseconds: 45_000,
  responseBytesMax: 16 * 1024,
  /** After that a worker that claimed a delivery counts as gone. */
  claimMilliseconds: 60_000,
  /** Sends to one channel at once in one server, so that a receiver that hangs holds up no other channel. */
  channelSendsMax: 3,
  /** Sends at once in one server. */
  sendsMax: 40,
  /** Between two looks for what is due, and before what came of tries is recorded, so that many share a statement. */
  lookRestMilliseconds: 20,
  recordGatherMilliseconds: 5,
  /** Due deliveries that one look takes in. */
  windowMax: 500,
  retryAfterMillisecondsMax: 3_600_000,
  throttleMillisecondsMax: 7 * 86_400_000,
  keptMilliseconds: 30 * 86_400_000,
  /** Rows that one statement touches. */
  rowsPerStatement: 1_000,
  compiledMax: 1_000,
  titleLengthMax: 200,
  valueLengthMax: 1_000,
  factsMax: 12,
} as const

/** The pauses after the first, second, … failed try: about 16 hours together. The tenth failure is the last. */
export const retryPausesMilliseconds: readonly number[] = [
  5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000,
]
