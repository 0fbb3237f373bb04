/** What a rules service that is not ours may say of one call. */
export const foreignRulesLimits = {
  askMilliseconds: 5_000,
  answerBytesMax: 256 * 1024,
  gatesMax: 16,
  messagesMax: 64,
  targetsMax: 1_000,
} as const
