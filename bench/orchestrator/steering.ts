/** How soon a person's wish is carried out while very many tasks run: the wish given, until the state says that it is so. */
import { setTimeout as delay } from "node:timers/promises"
import type pg from "pg"

export interface Steering {
  readonly pauseMilliseconds: number
  readonly resumeMilliseconds: number
  readonly abortMilliseconds: number
}

type Call = (operation: string, input: unknown) => Promise<unknown>

/** Steers an execution that was just created. Every wait looks at the row itself, each few milliseconds. */
export async function steer(call: Call, admin: pg.Client, execution: { id: string; tasks: number }): Promise<Steering> {
  const { id, tasks } = execution
  const look = async () => {
    const { rows } = await admin.query<{ state: string; done: number }>(
      "select state, (counts ->> 'succeeded')::int as done from executions where id = $1",
      [id],
    )
    return { state: rows[0]?.state ?? "", done: rows[0]?.done ?? 0 }
  }
  const until = async (isSo: (found: Awaited<ReturnType<typeof look>>) => boolean): Promise<void> => {
    for (let found = await look(); !isSo(found); found = await look()) {
      if (["failed", "incomplete", "succeeded"].includes(found.state)) throw new Error(`ended ${found.state}`)
      await delay(5)
    }
  }
  const wish = async (operation: string, state: string): Promise<number> => {
    const begin = performance.now()
    await call(operation, { execution: id })
    await until((found) => found.state === state)
    return performance.now() - begin
  }
  await until(({ done }) => done >= tasks / 10)
  const pauseMilliseconds = await wish("executions.pause", "paused")
  const resumeMilliseconds = await wish("executions.resume", "running")
  await until(({ done }) => done >= tasks / 5)
  const abortMilliseconds = await wish("executions.abort", "aborted")
  return { pauseMilliseconds, resumeMilliseconds, abortMilliseconds }
}
