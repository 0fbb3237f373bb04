const day = 86_400_000

/** What bounds a request and what is asked of one. Everything that grows or waits has a row here. */
export const approvalLimits = {
  levelsMax: 10,
  /** Thousandths of a percent: a percentage has at most three decimals. */
  percentScale: 1000,
  weightMax: 100,
  expiresAfterMillisecondsDefault: 7 * day,
  expiresAfterMillisecondsMax: 30 * day,
  remindersMaxDefault: 3,
  remindersMax: 20,
  /** A question that nobody answers lapses after this long; then the level's clocks go on. */
  questionExpiresAfterMilliseconds: 7 * day,
  questionsMax: 20,
  /** A request that no association matches ends after this long. */
  unmatchedExpiresAfterMilliseconds: 30 * day,
  revisionsMax: 100,
  /** Votes on one seat of one opening, changed ones among them: by each, so that nobody uses up what others need. */
  votesOfSeatMax: 100,
  delegationsMax: 200,
} as const
