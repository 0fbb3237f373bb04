/** Faults of one line each for the real code that decides, commits and sends; `planted-run.fixture.ts` plays a run with one. */

/**
 * `resized`: the owner dies, a person changes the width, another server takes over. `aborted`: the same with an abort.
 * `revived`: the owner stands still until another server has taken over, and goes on then. `broken`: a commit fails while
 * another one is on its way behind it.
 */
export type Story = "resized" | "aborted" | "revived" | "broken"

export interface PlantedFault {
  /** Of the source, below packages/. */
  readonly file: string
  readonly from: string
  readonly to: string
  /** What of the run shows it. */
  readonly story: Story
  /** What the oracle says of it, among other things perhaps. */
  readonly seen: RegExp
}

const workflows = "server/src/services/workflows"

export const plantedFaults: Readonly<Record<string, PlantedFault>> = {
  "a commit does not look at owner and epoch": {
    file: `${workflows}/batch-store.ts`,
    from: "owner = $3 and epoch = $4 and batches",
    to: "$3::text is not null and $4::bigint is not null and batches",
    story: "resized",
    seen: /went back|became|while the window was closed/,
  },
  "reports are acknowledged before the commit": {
    file: `${workflows}/execution-runner.ts`,
    from: "    this.#line.send(sent",
    to: "    this.#deps.executor.acknowledge(inputs.flatMap((one) => one.acknowledgement ?? []))\n    this.#line.send(sent",
    story: "resized",
    seen: /was acknowledged and is not durable/,
  },
  "orders are sent before the commit": {
    file: `${workflows}/execution-runner.ts`,
    from: "    this.#line.send(sent",
    to: "    this.#dispatch(result.commands)\n    this.#line.send(sent",
    story: "resized",
    seen: /was sent and is not durable/,
  },
  "a commit goes through although the one before it failed": {
    file: `${workflows}/batch-store.ts`,
    from: "and batches = $33 and",
    to: "and $33::bigint is not null and",
    story: "broken",
    seen: /are told|its node says|did not end/,
  },
  "an owner that lost its lease goes on": {
    file: `${workflows}/commit-line.ts`,
    from: "return answer &&",
    to: "return",
    story: "resized",
    seen: /is not durable/,
  },
  "a commit forgets what it started": {
    file: `${workflows}/batch.ts`,
    from: "nextOrdinal: state.nextOrdinal,",
    to: "nextOrdinal: firstFrom,",
    story: "resized",
    seen: /was sent and is not durable/,
  },
  "the place of a lost node is never freed": {
    file: "engine/src/task-steps.ts",
    from: 'endTask(draft, slot, { event: "unreach", class: "unreachable" })',
    to: "put(draft, slot, { ...slot, deadline: Number.POSITIVE_INFINITY })",
    story: "resized",
    seen: /did not end/,
  },
  "a percentage is rounded up": {
    file: "engine/src/limits.ts",
    from: "return Math.floor((share * targetsCount) / wholeShare)",
    to: "return Math.ceil((share * targetsCount) / wholeShare)",
    story: "resized",
    seen: /8 were in flight, the width is 7/,
  },
  "a late report of an earlier attempt is taken": {
    file: "engine/src/task-steps.ts",
    from: "if (attempt === slot.attempt) return undefined",
    to: "if (attempt <= slot.attempt) return undefined",
    story: "resized",
    seen: /its node says|did not end/,
  },
  "a task that has ended ends again": {
    file: "engine/src/task-steps.ts",
    from: 'if (isTaskEnded(slot.state)) return "ended"',
    to: 'if (isTaskEnded(slot.state)) return (put(draft, slot, { ...slot, state: "succeeded" }), undefined)',
    story: "resized",
    seen: /became succeeded|did not end/,
  },
  "the wish is lost at a takeover": {
    file: `${workflows}/lease-store.ts`,
    from: "e.state, e.stop, ${wishColumns},",
    to: "e.state, e.stop, ${wishColumns.replace('e.wish,', \"'run' as wish,\")},",
    story: "aborted",
    seen: /started after the abort/,
  },
  "a new width is forgotten at a takeover": {
    file: `${workflows}/lease-store.ts`,
    from: "e.state, e.stop, ${wishColumns},",
    to: "e.state, e.stop, ${wishColumns.replace('e.wish_width as', 'null as')},",
    story: "resized",
    seen: /were in flight, the width is 2/,
  },
  "a closed window is ignored": {
    file: `${workflows}/run-settings.ts`,
    from: "if (open) return null",
    to: "if (open || !open) return null",
    story: "resized",
    seen: /started while the window was closed/,
  },
  "who was never started is not told so": {
    file: `${workflows}/execution-store.ts`,
    from: "when e.stop is not null then 'never-started' else",
    to: "when false then 'never-started' else",
    story: "aborted",
    seen: /has not ended: queued/,
  },
  "a takeover sends no order again": {
    file: "engine/src/recover.ts",
    from: "commands: [...repeated, ...result.commands]",
    to: "commands: result.commands",
    story: "resized",
    seen: /its node says|did not end/,
  },
  "a lease is renewed after it was lost": {
    file: `${workflows}/lease-store.ts`,
    from: `set leased_until = clock_timestamp() + $2 * interval '1 millisecond'
     from unnest($3::text[], $4::bigint[]) as o (id, epoch)
     where e.id = o.id and e.owner = $1 and e.epoch = o.epoch and e.finished_at is null returning e.id`,
    to: `set leased_until = clock_timestamp() + $2 * interval '1 millisecond', owner = $1, epoch = o.epoch
     from unnest($3::text[], $4::bigint[]) as o (id, epoch)
     where e.id = o.id and e.finished_at is null returning e.id`,
    story: "revived",
    seen: /the execution went back/,
  },
  "a repeated report is counted twice": {
    file: "engine/src/task-steps.ts",
    from: 'if (!slot) return "ended"',
    to: 'if (!slot) return (input.type === "task-finished" && (draft.counts[input.outcome.state] += 1), "ended")',
    story: "resized",
    seen: /succeeded are told/,
  },
  "a lapsed lease is not taken over": {
    file: `${workflows}/lease-store.ts`,
    from: "or o.leased_until < clock_timestamp()",
    to: "",
    story: "resized",
    seen: /did not end|was not taken over/,
  },
}
