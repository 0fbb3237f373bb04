/**
 * A question to the requester, while which the level's clocks stand still.
 *
 *   open --answer---> answered
 *        --lapse----> lapsed       nobody answered in time
 *        --overtake-> overtaken    the level was decided, or the request edited or ended
 */
import type { QuestionStateName } from "./types.ts"

export type QuestionEvent = "answer" | "lapse" | "overtake"

type Transitions = Readonly<Record<QuestionStateName, Readonly<Partial<Record<QuestionEvent, QuestionStateName>>>>>

export const questionTransitions: Transitions = {
  open: { answer: "answered", lapse: "lapsed", overtake: "overtaken" },
  answered: {},
  lapsed: {},
  overtaken: {},
}

/** The next state, or undefined where the event is not possible in this state. */
export function nextQuestionState(state: QuestionStateName, event: QuestionEvent): QuestionStateName | undefined {
  return questionTransitions[state][event]
}
