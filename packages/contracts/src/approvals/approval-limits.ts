/** What bounds approvals; errors and documents quote these. */
export const approvalLimits = {
  templatesMax: 500,
  groupsMax: 2_000,
  associationsMax: 5_000,
  delegationsMax: 10_000,
  membersMax: 200,
  levelsMax: 10,
  weightMax: 100,
  votesNeededMax: 20_000,
  remindersMax: 20,
  expressionLengthMax: 4_096,
  contentBytesMax: 256 * 1024,
  attributesMax: 32,
  attributeLengthMax: 200,
  titleLengthMax: 200,
  commentLengthMax: 4_000,
  waitSecondsMax: 60,
  /** Templates that rules may want for one call. */
  ruleTemplatesMax: 64,
  /** Rules that a request shows; those that want it approved are named in its template too. */
  askingRulesMax: 20,
  /** Level overrides of an association, one a level. */
  groupOverridesMax: 10,
} as const
