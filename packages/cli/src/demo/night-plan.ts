import type { Fault } from "./demo-plan.ts"

/** The story of a night, in numbers. */
export const nightPlan = {
  /** Early enough in the order of any enrolment that the run stops with machines left. */
  faults: new Map<number, Fault>([
    [2, "service-refuses-v2"],
    [5, "check-refuses-v2"],
  ]),
  version: "v2",
  workers: 2,
  width: 2,
  /** One failure is tolerated. */
  errorLimit: 1,
  onCall: "on-call@example.org",
  scheduleName: "nightly-web-config",
  /** From the schedule's making to its instant. */
  firesInMilliseconds: 2_000,
  mailLinesShown: 14,
} as const
