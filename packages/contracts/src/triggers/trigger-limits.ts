/** The limits of signals, hooks, triggers and silences. */
export const triggerLimits = {
  /** In an account. */
  signalsMax: 500,
  silencesMax: 1_000,
  hooksMax: 500,
  triggersMax: 1_000,
  /** What one node samples, for all signals together. */
  watchesPerNodeMax: 64,
  /** How often a node samples. */
  everyMillisecondsMin: 5_000,
  everyMillisecondsMax: 3_600_000,
  commandTimeoutMillisecondsMax: 60_000,
  holdMillisecondsMax: 7 * 86_400_000,
  patternsMax: 50,
  equalLabelsMax: 16,
  /** Of a trigger's schema and of what a firing carries, as JSON. */
  schemaBytesMax: 16 * 1024,
  dataBytesMax: 64 * 1024,
  /** Of a webhook's body. */
  hookBodyBytesMax: 256 * 1024,
  hookHeadersMax: 16,
  hookHeaderLengthMax: 512,
  /** Calls that one hook takes, sustained and at once. */
  hookCallsPerMinuteMax: 600,
  hookBurst: 60,
  /** How far a signed timestamp may be from the server's clock. */
  hookToleranceSeconds: 300,
  /** How long the id of a message is remembered, so that it counts once. */
  hookMessagesKeptMilliseconds: 3 * 86_400_000,
} as const
