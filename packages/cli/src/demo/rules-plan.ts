/** The story of rules, in numbers and names. */
export const rulesPlan = {
  /** Where services write their logs and their data, of this size; in kilobytes, as du tells them. */
  spaceKilobytes: 4_096,
  dataBytes: 64 * 1024,
  logBytes: 3_900 * 1024,
  full: "web-07",
  raiseAbove: 90,
  clearBelow: 70,
  /** The shortest interval that a signal may have. */
  measureEvery: "5s",
  /** Joined to the ring by a plain HTTP call, and by the command line. */
  canaries: ["web-03", "web-04"],
  version: "v2",
  looping: "web-05",
  depthMax: 8,
  onCall: "on-call@example.org",
} as const
