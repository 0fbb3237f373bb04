import { expect, test } from "vitest"
import { type AuditRow, type StoryEvent, tellStory } from "./model.ts"

const request = (id: string, caused: string | null, more: Partial<AuditRow> = {}): AuditRow => ({
  ...{ id, time: 0, principal: "rule:r", operation: "nodes.update", subject: "nod_1", outcome: "done", cause: "req_0" },
  ...{ caused_by: caused, source_address: null, input_digest: "", ...more },
})
const event = (type: string, subject: string, more: Partial<StoryEvent> = {}): StoryEvent => ({
  ...{ id: `evt_${type}`, time: 1, type, subject, principal: "p", depth: 0, data: {}, ...more },
})

const told = (requests: readonly AuditRow[], events: readonly StoryEvent[]): string[] =>
  tellStory(requests, events).map(({ depth, text }) => `${depth} ${text}`)

const acts = event("action.started", "act_1", {
  depth: 1,
  data: { rule: "r", operation: "nodes.update", eventType: "signal.raised" },
})

test("X4: a call of an action is told by its run, and one that was refused below it", () => {
  expect(told([request("req_1", "act_1", { time: 2 })], [acts])).toEqual([
    '2 the rule "r" acts on signal.raised: nodes.update',
  ])
  expect(told([request("req_1", "act_1", { time: 2, outcome: "rules.denied" })], [acts])).toEqual([
    '2 the rule "r" acts on signal.raised: nodes.update',
    "3 rule:r called nodes.update and was refused: rules.denied",
  ])
  expect(told([request("req_1", "act_1")], [])).toEqual(["0 rule:r called nodes.update"])
})

test("X4: of one moment the question comes before what it leads to", () => {
  const types = ["level-opened", "matched", "submitted"]
  const events = types.map((type) => event(`approval-request.${type}`, "apr_1", { data: { requester: { key: "k" } } }))
  expect(tellStory([], events).map(({ what }) => what.split(".")[1])).toEqual(types.toReversed())
})

test.each([
  [
    "signal.raised",
    { signal: "disk-full", node: "web-7", value: 97, threshold: 90, reason: "threshold" },
    "signal disk-full raised on web-7: 97, threshold 90",
  ],
  [
    "signal.raised",
    { signal: "s", node: "n", reason: "silence-ended", silenced: { by: "silence", name: "move" } },
    "signal s raised on n: silence ended; kept quiet by the silence move",
  ],
  ["signal.cleared", { signal: "s", node: "n", reason: "not-watched" }, "signal s cleared on n: not watched"],
  [
    "operation.done",
    { operation: "nodes.update", firings: [{ rule: "a" }, { rule: "b" }] },
    "rules follow nodes.update: a, b",
  ],
  ["webhook.received", { webhook: "shop" }, "the hook shop received a message"],
  ["trigger.fired", { trigger: "nightly" }, "the trigger nightly was fired"],
])("X4: %s is told in words", (type, data, text) => {
  expect(tellStory([], [event(type, "x_1", { data })])).toMatchObject([{ text }])
})
