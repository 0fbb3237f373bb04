import type { AgentFrame, StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import { fitInventory } from "./inventory-reporter.ts"
import { fitResults } from "./outcome-size.ts"

/** Halvings of what a frame may hold, for text that grows when it is escaped twice. */
const roundsMax = 6
const shortMessageLength = 200

/**
 * A frame's text for an exchange, of at most so many bytes as a JSON string. Of a report that is larger the kept outputs
 * are halved and marked as cut, of an inventory the lists; undefined where a frame has nothing to leave out.
 */
export function fitFrame(frame: AgentFrame, bytesMax: number): string | undefined {
  const whole = JSON.stringify(frame)
  if (exchangedBytes(whole) <= bytesMax) return whole
  for (let round = 0, target = bytesMax; round < roundsMax; round++, target = Math.floor(target / 2)) {
    const text = JSON.stringify(shrink(frame, target))
    if (exchangedBytes(text) <= bytesMax) return text
  }
  return undefined
}

/** What a frame's text takes in an exchange. */
export function exchangedBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text))
}

function shrink(frame: AgentFrame, bytesMax: number): AgentFrame {
  switch (frame.type) {
    case "task-finished":
      return { ...frame, outcome: { ...frame.outcome, steps: shrinkResults(frame.outcome.steps, bytesMax) } }
    case "rollback-finished":
      return { ...frame, outcome: { ...frame.outcome, undone: shrinkResults(frame.outcome.undone, bytesMax) } }
    case "inventory":
      return { ...frame, inventory: fitInventory(frame.inventory, bytesMax) }
    default:
      return frame
  }
}

function shrinkResults(results: readonly StepResult[], bytesMax: number): StepResult[] {
  const short = results.map((result) => ({
    ...result,
    ...(result.message !== undefined && { message: result.message.slice(0, shortMessageLength) }),
  }))
  return fitResults(short, bytesMax)
}
