/** Every bound of the agent, in one place. Tests shorten the waits by passing other values to `startAgent`. */
export const agentRunLimits = {
  /** Orders that wait while another one runs; one more is refused. */
  queueMax: 16,
  /** Tasks that run beside the lane, as they are not exclusive, and health checks at once. */
  besideMax: 8,
  probesMax: 4,
  /** Commands of metrics at once. */
  metricCommandsMax: 4,
  /** From SIGTERM to SIGKILL. */
  terminateGraceMilliseconds: 5_000,
  /** From SIGKILL until a process that still doesn't end is given up (uninterruptible sleep). */
  killWaitMilliseconds: 10_000,
  /** How long output is read after the main process has ended while a child holds the pipes. */
  outputDrainMilliseconds: 300,
  /** Pipes that background processes still hold and that are read to nowhere so that writing doesn't end them. */
  orphanedPipesMax: 64,

  /** Output that was read and whose buffers are not yet freed. */
  outputUnfreedBytesMax: 4 * 1024 * 1024,

  /** Live output: how often it is sent, how much a second, and how much waits for its turn. */
  outputFlushMilliseconds: 200,
  outputBytesPerSecond: 128 * 1024,
  outputPendingBytesMax: 64 * 1024,
  /** Above this the socket is backed up, and live output is dropped; kept output is not affected. */
  socketBufferedBytesMax: 1024 * 1024,

  /** Texts that one order's secrets may make for masking: the values, their lines, and other spellings of them. */
  maskPatternsMax: 4_000,
  /** What a step that waits looks at, and how often. */
  waitPollMilliseconds: 250,
  waitConnectMilliseconds: 5_000,

  /** Of one artifact; unfinished downloads that are kept to be resumed; tries of one download. */
  artifactBytesMax: 4 * 1024 * 1024 * 1024,
  artifactPartsMax: 8,
  artifactTriesMax: 5,
  /** Of asking for a run's approval, a second and more apart. */
  evidenceTriesMax: 5,

  /** Of a root that is saved whole before a task. */
  wholeEntriesMax: 100_000,
  wholeBytesMax: 2 * 1024 * 1024 * 1024,

  savedEntriesMax: 50_000,
  savedBytesMax: 1024 * 1024 * 1024,
  /** What all attempts together may keep on disk for a later rollback. */
  savedBytesTotalMax: 4 * 1024 * 1024 * 1024,

  attemptsKeptMax: 1_000,
  attemptsUnacknowledgedMax: 1_000,
  attemptKeptMilliseconds: 7 * 86_400_000,
  /** Settled attempts that are kept beyond that, for a rollback that may still be ordered. */
  attemptsHeldMax: 5_000,
  pruneIntervalMilliseconds: 3_600_000,

  connectTimeoutMilliseconds: 15_000,
  welcomeTimeoutMilliseconds: 15_000,
  backoffMillisecondsMin: 200,
  backoffMillisecondsMax: 30_000,
  /** After a refusal (401, 403, a `refused` frame) the agent keeps trying, but less often. */
  refusedBackoffMillisecondsMin: 2_000,
  refusedBackoffMillisecondsMax: 60_000,
  /** A session that was welcome for so long starts the backoff from the beginning. */
  sessionStableMilliseconds: 10_000,
  /** After such a session, or one whose server said that it goes away, the next try comes within this. */
  reconnectMillisecondsMax: 1_000,
  resendIntervalMilliseconds: 15_000,
  /** A task that ends within this says nothing of its start. */
  startHeldMilliseconds: 100,

  /** Handshakes in a row that were cut while plain calls got through; then exchanges carry the session. */
  socketCutsMax: 3,
  /** How often a WebSocket is tried while exchanges carry the session. */
  socketRetryMilliseconds: 600_000,
  /** How long the server may hold an exchange back; with its margin within the session's silence. */
  exchangeWaitMilliseconds: 20_000,
  /** How long a reply may take beyond that, and how long one to an exchange that carries frames. */
  exchangeMarginMilliseconds: 8_000,
  exchangeReportTimeoutMilliseconds: 25_000,
  exchangeRetryMillisecondsMax: 3_000,
  /** Each exchange takes a token, and the server remembers a bounded number of those that are good. */
  exchangeBurst: 15,
  exchangeGapMilliseconds: 625,
  exchangeTokenSeconds: 30,
  exchangeQueuedBytesMax: 16 * 1024 * 1024,

  /** Nodes that one process may host, and how often it looks for new ones and for those that could not start. */
  hostedNodesMax: 200,
  hostScanIntervalMilliseconds: 5_000,

  /** So long after the last task or connecting, unused memory is given back. */
  idleMilliseconds: 20_000,
  /** From a task's end to the look at what it changed. */
  inventoryDelayMilliseconds: 2_000,
  inventoryIntervalMilliseconds: 6 * 3_600_000,
  inventoryCommandMilliseconds: 60_000,
} as const satisfies Record<string, number>

export type AgentRunLimits = { readonly [Name in keyof typeof agentRunLimits]: number }
